"""The whole fleet at a glance: what each server's newest samples say, and which alerts are on.

One row a server by way of the index on (server_id, time DESC), whatever the number of samples.
`read_lines` reads nothing that is closed to the role that may only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from storage import now, servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

SPARKLINE = timedelta(minutes=30)
RECENT_ALERTS = 20

_VALUES = f"""
    SELECT s.id, c.usage_percent AS cpu_percent, c.load1, m.used_percent AS memory_percent,
           d.used_percent AS disk_percent, d.mount,
           n.rx AS rx_bytes_per_s, n.tx AS tx_bytes_per_s
    FROM server s {now.newest("$1::timestamptz")}
"""  # noqa: S608 - constants

_SPARKLINES = """
    SELECT server_id, array_agg(extract(epoch FROM time)::bigint / 60 ORDER BY time) AS minutes,
           array_agg({column} ORDER BY time) AS values
    FROM {table}_1m WHERE time >= $1 AND time < $2 GROUP BY server_id
"""
SPARKLINE_COLUMNS = {"cpu": "usage_percent", "memory": "used_percent"}

_FIRING = """
    SELECT server_id, alert_id AS id, rule, metric, severity, value, labels, fired_at,
           acknowledged_by
    FROM alert_current
    WHERE state = 'firing' AND ($1::int IS NULL OR server_id = $1)
    ORDER BY severity = 'critical' DESC, fired_at DESC
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
    """An alert that is on."""

    id: int
    server_id: int | None  # None: it is about the whole fleet
    rule: str
    metric: str
    severity: str
    value: float | None
    labels: Mapping[str, object]
    fired_at: datetime
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A server with its newest values; one that is older than 5 minutes is None."""

    server: servers.Server
    cpu_percent: float | None = None
    load1: float | None = None
    memory_percent: float | None = None
    disk_percent: float | None = None  # of the fullest mount
    mount: str | None = None
    rx_bytes_per_s: float | None = None  # of all interfaces
    tx_bytes_per_s: float | None = None
    firing: Sequence[Firing] = ()  # the worst first

    @property
    def state(self) -> str:
        """Return one of `now.STATES`."""
        return state_of(self.server, self.firing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All servers by name, all alerts that are on, and those that changed last."""

    lines: Sequence[Line]
    firing: Sequence[Firing]
    recent: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparklines:
    """One value a minute since `begin`, by column and server; None where there is none."""

    begin: datetime
    values: Mapping[str, Mapping[int, Sequence[float | None]]] = field(
        default_factory=dict[str, "Mapping[int, Sequence[float | None]]"]
    )


def state_of(server: servers.Server, firing: Sequence[Firing]) -> str:
    """Return one of `now.STATES`: the status of a server, or its worst alert if it is online."""
    if server.status is not servers.Status.ONLINE:
        return server.status
    return firing[0].severity if firing else "ok"


async def read(connection: Connection) -> Overview:
    """Read the newest of everything."""
    at = await connection.fetchval("SELECT now()")
    firing = await read_firing(connection)
    return Overview(
        lines=await _lines(connection, firing, at=at),
        firing=firing,
        recent=[dict(row) for row in await connection.fetch(_RECENT, RECENT_ALERTS)],
    )


async def read_lines(connection: Connection, *, at: datetime) -> Sequence[Line]:
    """Read what all servers do at a moment, which is now by some clock."""
    return await _lines(connection, await read_firing(connection), at=at)


async def read_firing(connection: Connection, server_id: int | None = None) -> Sequence[Firing]:
    """Read the alerts that are on, of one server or of all, the worst first."""
    rows = await connection.fetch(_FIRING, server_id)
    return [Firing(**dict(row)) for row in rows]


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


async def _lines(
    connection: Connection, firing: Sequence[Firing], *, at: datetime
) -> Sequence[Line]:
    by_server: dict[int | None, list[Firing]] = {}
    for each in firing:
        by_server.setdefault(each.server_id, []).append(each)
    values = {row["id"]: dict(row) for row in await connection.fetch(_VALUES, at)}
    return [
        Line(
            server=server,
            firing=by_server.get(server.id, ()),
            **{name: value for name, value in values[server.id].items() if name != "id"},
        )
        for server in await servers.list_all(connection, at=at)
        if server.id in values  # else it came in between, and is there the next time
    ]
