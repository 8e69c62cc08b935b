"""Alerts for people and programs: which there are, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerting import rules
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

STATES = ("firing", "no_data", "pending", "resolved", "ok")  # the most urgent first
LIVE = STATES[:3]
LIMIT_MAX = 1000
DELIVERIES_MAX = 100

_ALERT = """
    SELECT a.id, r.name AS rule, r.metric, s.name AS server_id, a.labels, a.state, a.severity,
           a.value, a.cause, a.flapping, a.run_started_at, a.fired_at, a.resolved_at,
           a.acknowledged_at, a.acknowledged_by, a.changed_at
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN server s ON s.id = a.server_id
"""
_CHANGE = """
    SELECT h.id, h.time, h.alert_id, h.rule_name AS rule, s.name AS server_id, h.labels, h.change,
           h.from_state, h.to_state, h.severity, h.value, h.firing_number, h.detail
    FROM alert_history h LEFT JOIN server s ON s.id = h.server_id
"""
_DELIVERIES = """
    SELECT n.created_at, n.channel, n.kind, n.state, n.attempts, n.finished_at, n.last_error,
           n.dedup_key
    FROM (SELECT DISTINCT time FROM alert_history WHERE alert_id = $1) h
    JOIN notification n ON n.created_at = h.time  -- one transaction, one moment
    WHERE n.alert_ids @> ARRAY[$1::bigint] ORDER BY n.id DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which alerts: None stands for any; `before` is the id of a change, for the next page."""

    states: Sequence[str] | None = None
    server: str | None = None
    rule: str | None = None
    alert_id: int | None = None
    since: datetime | None = None
    before: int | None = None
    limit: int = LIMIT_MAX


async def find(connection: Connection, wanted: Filter) -> list[dict[str, object]]:
    """Return alerts, the most urgent and newest first."""
    rows = await connection.fetch(
        f"""
        {_ALERT}
        WHERE ($1::text[] IS NULL OR a.state = ANY($1)) AND ($2::text IS NULL OR s.name = $2)
          AND ($3::text IS NULL OR r.name = $3) AND ($4::bigint IS NULL OR a.id = $4)
          AND ($5::timestamptz IS NULL OR a.changed_at >= $5)
        ORDER BY array_position($6::text[], a.state), a.changed_at DESC, a.id
        LIMIT $7
        """,
        wanted.states,
        wanted.server,
        wanted.rule,
        wanted.alert_id,
        wanted.since,
        list(STATES),
        wanted.limit,
    )
    return [{**dict(row), "unit": _unit(row["metric"])} for row in rows]


async def changes(connection: Connection, wanted: Filter) -> list[dict[str, object]]:
    """Return what became of alerts, the newest first; of a forgotten rule or server as well."""
    rows = await connection.fetch(
        f"""
        {_CHANGE}
        WHERE ($1::text IS NULL OR s.name = $1) AND ($2::text IS NULL OR h.rule_name = $2)
          AND ($3::bigint IS NULL OR h.alert_id = $3)
          AND ($4::timestamptz IS NULL OR h.time >= $4) AND ($5::bigint IS NULL OR h.id < $5)
        ORDER BY h.id DESC LIMIT $6
        """,
        wanted.server,
        wanted.rule,
        wanted.alert_id,
        wanted.since,
        wanted.before,
        wanted.limit,
    )
    return [dict(row) for row in rows]


async def deliveries(connection: Connection, alert_id: int) -> list[dict[str, object]]:
    """Return the newest messages that spoke of an alert, and what came of them."""
    rows = await connection.fetch(_DELIVERIES, alert_id, DELIVERIES_MAX)
    return [dict(row) for row in rows]


def _unit(metric: str) -> str | None:
    """Return the unit of a metric; None where an edited rule names one that does not exist."""
    try:
        return rules.unit(metric)
    except catalog.UnknownMetric:
        return None
