"""What happened to a server: alerts that fired, and events (boot, config, another version)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

SHOWN_MAX = 500

_BANDS = """
    SELECT * FROM (
      SELECT h.alert_id, h.rule_name AS rule, r.metric, h.labels, h.severity, h.value, h.to_state,
             h.time AS from_time,
             lead(h.time) OVER (PARTITION BY h.alert_id ORDER BY h.id) AS to_time
      FROM alert a JOIN alert_history h ON h.alert_id = a.id
      JOIN alert_rule r ON r.id = a.rule_id
      WHERE a.server_id = $1
    ) firing
    WHERE to_state = 'firing' AND from_time < $3 AND (to_time IS NULL OR to_time > $2)
    ORDER BY from_time DESC LIMIT $4
"""

_MARKS = """
    SELECT time, kind, detail FROM event
    WHERE server_id = $1 AND time >= $2 AND time < $3 ORDER BY time DESC LIMIT $4
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A firing of one severity; `to_time` is None while it goes on."""

    alert_id: int
    rule: str
    metric: str
    labels: Mapping[str, object]
    severity: str | None
    value: float | None
    from_time: datetime
    to_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event."""

    time: datetime
    kind: str
    detail: Mapping[str, object]


async def bands(
    connection: Connection, server_id: int, *, start: datetime, end: datetime
) -> Sequence[Band]:
    """Return the firings that touch [start, end), the newest first; at most SHOWN_MAX."""
    rows = await connection.fetch(_BANDS, server_id, start, end, SHOWN_MAX)
    return [
        Band(**{name: value for name, value in row.items() if name != "to_state"}) for row in rows
    ]


async def marks(
    connection: Connection, server_id: int, *, start: datetime, end: datetime
) -> Sequence[Mark]:
    """Return the events in [start, end), the newest first; at most SHOWN_MAX."""
    rows = await connection.fetch(_MARKS, server_id, start, end, SHOWN_MAX)
    return [Mark(**dict(row)) for row in rows]
