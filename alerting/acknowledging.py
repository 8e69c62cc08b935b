"""Acknowledging: somebody took a firing on, so nobody else needs to be reminded of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from storage import audit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Connection

WHO_MAX_CHARACTERS = 100


class Answer(StrEnum):
    """What became of it."""

    DONE = "done"
    ALREADY = "already"
    NOT_OPEN = "not_open"
    UNKNOWN = "unknown"


# All of them at once: a message may speak of ten thousand alerts.
_ACKNOWLEDGE = """
    WITH done AS (
      UPDATE alert a SET acknowledged_at = now(), acknowledged_by = $2
      FROM unnest($1::bigint[], $3::int[]) AS wanted (id, firing_number)
      WHERE a.id = wanted.id AND a.severity IS NOT NULL AND a.acknowledged_at IS NULL
        AND (wanted.firing_number IS NULL OR a.firing_number = wanted.firing_number)
        AND ($4::timestamptz IS NULL OR a.fired_at <= $4)
      RETURNING a.*
    )
    INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change, from_state,
                               to_state, severity, value, firing_number, detail)
    SELECT now(), d.id, r.name, d.server_id, d.labels, 'acknowledged', d.state, d.state,
           d.severity, d.value, d.firing_number, jsonb_build_object('by', $2::text)
    FROM done d JOIN alert_rule r ON r.id = d.rule_id
    RETURNING alert_id, firing_number
"""

# Pagers want to know: their own message of this firing, with another kind.
_TELL_PAGERS = """
    INSERT INTO notification (created_at, alert_id, alert_ids, queue, channel, kind, dedup_key,
                              payload, next_attempt_at)
    SELECT now(), n.alert_id, n.alert_ids, n.queue, n.channel, 'acknowledged',
           n.dedup_key || '-acknowledged',
           n.payload || jsonb_build_object('kind', 'acknowledged',
                                           'dedup_key', n.dedup_key || '-acknowledged'),
           now()
    FROM (
      SELECT DISTINCT ON (n.channel, n.alert_id) n.*
      FROM unnest($1::bigint[], $2::int[]) AS done (id, firing_number)
      JOIN notification n ON n.alert_id = done.id AND n.queue <> ''
        AND (n.payload ->> 'firing_number')::int = done.firing_number
      JOIN channel c ON c.name = n.channel AND c.kind = 'pagerduty' AND c.enabled
      ORDER BY n.channel, n.alert_id, n.id DESC
    ) n
    ON CONFLICT (channel, dedup_key) DO NOTHING
"""

_KNOWN = """
    SELECT a.id, a.severity IS NOT NULL
             AND (wanted.firing_number IS NULL OR a.firing_number = wanted.firing_number)
             AND ($3::timestamptz IS NULL OR a.fired_at <= $3) AS is_open
    FROM unnest($1::bigint[], $2::int[]) AS wanted (id, firing_number)
    JOIN alert a ON a.id = wanted.id
"""


async def acknowledge(
    connection: Connection, alert_id: int, *, who: str, firing_number: int | None = None
) -> Answer:
    """Acknowledge the open firing of an alert; it is then neither repeated nor escalated.

    Args:
        connection: in a transaction or outside.
        alert_id: of the alert.
        who: a name for the history.
        firing_number: only if this firing is the open one; None: whichever is.
    """
    answers = await acknowledge_all(connection, {alert_id: firing_number}, who=who)
    return answers[alert_id]


async def acknowledge_all(
    connection: Connection,
    firings: Mapping[int, int | None],
    *,
    who: str,
    begun_by: datetime | None = None,
) -> dict[int, Answer]:
    """Acknowledge firings, all at once.

    Args:
        connection: in a transaction or outside.
        firings: the firing's number by alert id; None: whichever is open.
        who: a name for the history.
        begun_by: only firings that had begun by then.
    """
    ids, numbers = list(firings), list(firings.values())
    async with connection.transaction():
        rows = await connection.fetch(
            _ACKNOWLEDGE, ids, who[:WHO_MAX_CHARACTERS], numbers, begun_by
        )
        done = {row["alert_id"]: row["firing_number"] for row in rows}
        await connection.execute(_TELL_PAGERS, list(done), list(done.values()))
        if done:
            # One deed, one entry: a message may speak of ten thousand alerts.
            await audit.record(
                connection,
                actor=who[:WHO_MAX_CHARACTERS],
                action="alert.ack",
                subject=str(min(done)),
                detail={"alerts": len(done), "firing_number": done[min(done)]},
            )
        known = await connection.fetch(_KNOWN, ids, numbers, begun_by)
    answers = dict.fromkeys(ids, Answer.UNKNOWN)
    for row in known:
        answers[row["id"]] = Answer.ALREADY if row["is_open"] else Answer.NOT_OPEN
    return answers | dict.fromkeys(done, Answer.DONE)
