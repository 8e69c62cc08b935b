"""The whole fleet at a glance: what each server's newest samples say, and which alerts are on.

One row a server by way of the index on (server_id, time DESC), whatever the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from storage import servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

FRESH = timedelta(minutes=5)  # an older value is not what a server does now
SPARKLINE = timedelta(minutes=30)
RECENT_ALERTS = 20

_VALUES = """
    SELECT s.id, c.usage_percent AS cpu_percent, m.used_percent AS memory_percent,
           d.used_percent AS disk_percent, d.mount AS disk_mount,
           n.rx_bytes_per_s, n.tx_bytes_per_s
    FROM server s
    LEFT JOIN LATERAL (
      SELECT usage_percent FROM cpu
      WHERE server_id = s.id AND time > now() - $1::interval ORDER BY time DESC LIMIT 1) c ON true
    LEFT JOIN LATERAL (
      SELECT used_percent FROM memory
      WHERE server_id = s.id AND time > now() - $1::interval ORDER BY time DESC LIMIT 1) m ON true
    LEFT JOIN LATERAL (
      SELECT * FROM (
        SELECT DISTINCT ON (mount) mount, used_percent FROM disk_usage
        WHERE server_id = s.id AND time > now() - $1::interval ORDER BY mount, time DESC) newest
      ORDER BY used_percent DESC NULLS LAST LIMIT 1) d ON true
    LEFT JOIN LATERAL (
      SELECT sum(rx_bytes_per_s)::float8 AS rx_bytes_per_s,
             sum(tx_bytes_per_s)::float8 AS tx_bytes_per_s
      FROM network WHERE server_id = s.id AND time > now() - $1::interval AND time = (
        SELECT time FROM network
        WHERE server_id = s.id AND time > now() - $1::interval ORDER BY time DESC LIMIT 1)
    ) n ON true
"""

_SPARKLINES = """
    SELECT server_id, array_agg(extract(epoch FROM time)::bigint / 60 ORDER BY time) AS minutes,
           array_agg({column} ORDER BY time) AS values
    FROM {table}_1m WHERE time >= $1 AND time < $2 GROUP BY server_id
"""
SPARKLINE_COLUMNS = {"cpu": "usage_percent", "memory": "used_percent"}

_FIRING = """
    SELECT a.server_id, a.id, r.name AS rule, r.metric, a.severity, a.state, a.value, a.labels,
           a.fired_at, a.acknowledged_at IS NOT NULL AS acknowledged
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id
    WHERE a.state = 'firing'
    ORDER BY a.severity = 'critical' DESC, a.fired_at DESC
"""

_RECENT = """
    SELECT a.id, r.name AS rule, r.metric, s.name AS server_id, a.labels, a.state, a.severity,
           a.value, a.cause, a.fired_at, a.resolved_at, a.acknowledged_at, a.acknowledged_by,
           a.changed_at
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN server s ON s.id = a.server_id
    WHERE a.state IN ('firing', 'no_data', 'resolved')
    ORDER BY a.changed_at DESC, a.id DESC LIMIT $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """An alert that is on, as far as the overview needs it."""

    id: int
    rule: str
    metric: str
    severity: str
    value: float | None
    labels: Mapping[str, object]
    acknowledged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A server with its newest values; one that is older than 5 minutes is None."""

    server: servers.Server
    cpu_percent: float | None = None
    memory_percent: float | None = None
    disk_percent: float | None = None  # of the fullest mount
    disk_mount: str | None = None
    rx_bytes_per_s: float | None = None  # of all interfaces
    tx_bytes_per_s: float | None = None
    firing: Sequence[Firing] = ()  # the worst first


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All servers by name, and the alerts that changed last."""

    lines: Sequence[Line]
    recent: Sequence[Mapping[str, object]]
    firing: int
    unacknowledged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparklines:
    """One value a minute since `begin`, by column and server; None where there is none."""

    begin: datetime
    values: Mapping[str, Mapping[int, Sequence[float | None]]] = field(
        default_factory=dict[str, "Mapping[int, Sequence[float | None]]"]
    )


async def read(connection: Connection) -> Overview:
    """Read the newest of everything."""
    known = await servers.list_all(connection)
    values = {row["id"]: dict(row) for row in await connection.fetch(_VALUES, FRESH)}
    alerts = await connection.fetch(_FIRING)
    firing: dict[int, list[Firing]] = {}
    for row in alerts:
        each = dict(row)
        del each["state"], each["fired_at"]
        server_id = each.pop("server_id")
        if server_id is not None:
            firing.setdefault(server_id, []).append(Firing(**each))
    recent = await connection.fetch(_RECENT, RECENT_ALERTS)
    return Overview(
        lines=[
            _line(server, values.get(server.id, {}), firing.get(server.id, ())) for server in known
        ],
        recent=[dict(row) for row in recent],
        firing=len(alerts),
        unacknowledged=sum(not row["acknowledged"] for row in alerts),
    )


async def read_sparklines(connection: Connection, *, now: datetime) -> Sparklines:
    """Read the last half hour, one value a minute."""
    end = now.replace(second=0, microsecond=0)
    begin = end - SPARKLINE
    first = int(begin.timestamp()) // 60
    count = int(SPARKLINE.total_seconds()) // 60
    read: dict[str, dict[int, list[float | None]]] = {}
    for table, column in SPARKLINE_COLUMNS.items():
        rows = await connection.fetch(_SPARKLINES.format(table=table, column=column), begin, end)
        of_table = read.setdefault(table, {})
        for server_id, minutes, values in rows:
            line: list[float | None] = [None] * count
            for minute, value in zip(minutes, values, strict=True):
                line[minute - first] = value
            of_table[server_id] = line
    return Sparklines(begin=begin, values=read)


def _line(server: servers.Server, row: Mapping[str, object], firing: Sequence[Firing]) -> Line:
    values = {name: value for name, value in row.items() if name != "id"}
    return Line(server=server, firing=firing, **values)  # pyright: ignore[reportArgumentType] - columns of _VALUES
