"""Acknowledging: somebody took a firing on, so nobody else needs to be reminded of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from storage import audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.database import Connection

WHO_MAX_CHARACTERS = 100


class Answer(StrEnum):
    """What became of it."""

    DONE = "done"
    ALREADY = "already"
    NOT_OPEN = "not_open"
    UNKNOWN = "unknown"


_ACKNOWLEDGE = """
    UPDATE alert SET acknowledged_at = now(), acknowledged_by = $2
    WHERE id = $1 AND severity IS NOT NULL AND acknowledged_at IS NULL
      AND ($3::int IS NULL OR firing_number = $3)
    RETURNING rule_id, server_id, labels, state, severity, value, firing_number
"""

_HISTORY = """
    INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change, from_state,
                               to_state, severity, value, firing_number, detail)
    SELECT now(), a.id, r.name, a.server_id, a.labels, 'acknowledged', a.state, a.state,
           a.severity, a.value, a.firing_number, jsonb_build_object('by', $2::text)
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id WHERE a.id = $1
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
      SELECT DISTINCT ON (n.channel) n.* FROM notification n
      JOIN channel c ON c.name = n.channel AND c.kind = 'pagerduty' AND c.enabled
      WHERE n.alert_id = $1 AND n.queue <> '' AND (n.payload ->> 'firing_number')::int = $2
      ORDER BY n.channel, n.id DESC
    ) n
    ON CONFLICT (channel, dedup_key) DO NOTHING
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
    async with connection.transaction():
        row = await connection.fetchrow(
            _ACKNOWLEDGE, alert_id, who[:WHO_MAX_CHARACTERS], firing_number
        )
        if row is not None:
            await connection.execute(_HISTORY, alert_id, who[:WHO_MAX_CHARACTERS])
            await connection.execute(_TELL_PAGERS, alert_id, row["firing_number"])
            await audit.record(
                connection,
                actor=who[:WHO_MAX_CHARACTERS],
                action="alert.ack",
                subject=str(alert_id),
                detail={"firing_number": row["firing_number"]},
            )
            return Answer.DONE
        known = await connection.fetchrow(
            "SELECT severity, acknowledged_at, firing_number FROM alert WHERE id = $1", alert_id
        )
    if known is None:
        return Answer.UNKNOWN
    is_open = known["severity"] is not None
    if firing_number not in {None, known["firing_number"]} or not is_open:
        return Answer.NOT_OPEN
    return Answer.ALREADY


async def acknowledge_all(
    connection: Connection, firings: Iterable[tuple[int, int]], *, who: str
) -> dict[int, Answer]:
    """Acknowledge the firings (alert id, firing number) of a message, all at once."""
    async with connection.transaction():
        return {
            alert_id: await acknowledge(connection, alert_id, who=who, firing_number=number)
            for alert_id, number in sorted(firings)
        }
