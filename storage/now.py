"""What servers do now: the newest samples of each, and which alerts are on.

`states` and `newest` are the SQL, for whoever asks in SQL (dashboards) and for the readers below.
Everything here is open to the role that may only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

FRESH = "5 minutes"  # an older value is not what a server does now
STATES = ("offline", "critical", "warning", "ok", "stopped", "new")  # the worst first
PROCESSES = 10


def states(now: str) -> str:
    """Return a statement that gives each server's id, name, last_seen, state and firing alerts.

    Silence is judged as agents' alerts do: longer than 60 s and than three intervals.

    Args:
        now: an expression.
    """
    return f"""SELECT s.id, s.name, s.last_seen,
       CASE WHEN s.status = 'online' AND s.last_seen < {now} - make_interval(
              secs => greatest(60, 3 * (SELECT min(f.interval_s) FROM family_interval f
                                        WHERE f.server_id = s.id)))
              THEN 'offline'
            WHEN s.status <> 'online' THEN s.status
            ELSE coalesce(a.severity, 'ok') END AS state,
       coalesce(a.firing, 0) AS firing
FROM server s
LEFT JOIN (
  SELECT server_id, count(*) AS firing,
         CASE WHEN bool_or(severity = 'critical') THEN 'critical' ELSE 'warning' END AS severity
  FROM alert_current WHERE state = 'firing' GROUP BY server_id
) a ON a.server_id = s.id"""  # noqa: S608 - an expression of ours


def newest(now: str) -> str:
    """Return joins that give each row of `s` its newest values: c, m, d (fullest mount), n (sums).

    Args:
        now: an expression.
    """
    fresh = f"server_id = s.id AND time > {now} - interval '{FRESH}' AND time <= {now}"
    return f"""LEFT JOIN LATERAL (
  SELECT usage_percent, load1 FROM cpu WHERE {fresh} ORDER BY time DESC LIMIT 1
) c ON true
LEFT JOIN LATERAL (
  SELECT used_percent FROM memory WHERE {fresh} ORDER BY time DESC LIMIT 1
) m ON true
LEFT JOIN LATERAL (
  SELECT mount, used_percent FROM (
    SELECT DISTINCT ON (mount) mount, used_percent FROM disk_usage
    WHERE {fresh} ORDER BY mount, time DESC
  ) each_mount ORDER BY used_percent DESC NULLS LAST LIMIT 1
) d ON true
LEFT JOIN LATERAL (
  SELECT sum(rx_bytes_per_s)::float8 AS rx, sum(tx_bytes_per_s)::float8 AS tx FROM network
  WHERE {fresh} AND time = (SELECT time FROM network WHERE {fresh} ORDER BY time DESC LIMIT 1)
) n ON true"""  # noqa: S608 - an expression of ours


_FLEET = f"""WITH states AS ({states("$1::timestamptz")})
SELECT s.name AS server, s.state, s.last_seen, s.firing AS alerts, c.usage_percent AS cpu_percent,
       c.load1, m.used_percent AS memory_percent, d.used_percent AS disk_percent, d.mount,
       n.rx AS rx_bytes_per_s, n.tx AS tx_bytes_per_s
FROM states s {newest("$1::timestamptz")}
ORDER BY s.name"""  # noqa: S608 - constants
_ONE = f"SELECT * FROM ({states('$1::timestamptz')}) one WHERE name = $2"  # noqa: S608 - constants
# The rows of a family's newest tick; of disk_usage the newest of each mount.
_TICK = """SELECT * FROM {table} WHERE server_id = $1 AND time = (
  SELECT time FROM {table}
  WHERE server_id = $1 AND time > $2::timestamptz - interval '5 minutes' AND time <= $2
  ORDER BY time DESC LIMIT 1)"""
_MOUNTS = """SELECT DISTINCT ON (mount) * FROM disk_usage
WHERE server_id = $1 AND time > $2::timestamptz - interval '5 minutes' AND time <= $2
ORDER BY mount, time DESC"""
_FIRING = """SELECT rule, severity, labels, value, fired_at, acknowledged_by FROM alert_current
WHERE server_id = $1 AND state = 'firing' ORDER BY severity = 'critical' DESC, fired_at DESC"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A server with its newest values; one that is older than 5 minutes is None.

    `mount` is the fullest one; rates are of all interfaces together.
    """

    server: str
    state: str
    last_seen: datetime | None
    alerts: int
    cpu_percent: float | None
    load1: float | None
    memory_percent: float | None
    disk_percent: float | None
    mount: str | None
    rx_bytes_per_s: float | None
    tx_bytes_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One server's newest tick of each family, as its tables' columns; {} if there is none."""

    server: str
    state: str
    last_seen: datetime | None
    cpu: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memory: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mounts: Sequence[Mapping[str, Any]] = ()
    devices: Sequence[Mapping[str, Any]] = ()
    interfaces: Sequence[Mapping[str, Any]] = ()
    by_cpu: Sequence[Mapping[str, Any]] = ()
    by_memory: Sequence[Mapping[str, Any]] = ()
    alerts: Sequence[Mapping[str, Any]] = ()


async def read_fleet(connection: Connection, *, now: datetime) -> list[Line]:
    """Return all servers by name."""
    return [Line(**dict(row)) for row in await connection.fetch(_FLEET, now)]


async def read_server(connection: Connection, name: str, *, now: datetime) -> Detail | None:
    """Return what one server does; None if there is none of this name."""
    one = await connection.fetchrow(_ONE, now, name)
    if one is None:
        return None

    async def tick(table: str) -> list[dict[str, Any]]:
        rows = await connection.fetch(_TICK.format(table=table), one["id"], now)
        return [dict(row) for row in rows]

    cpu, memory, processes = await tick("cpu"), await tick("memory"), await tick("process")
    return Detail(
        server=one["name"],
        state=one["state"],
        last_seen=one["last_seen"],
        cpu=cpu[0] if cpu else {},
        memory=memory[0] if memory else {},
        mounts=[dict(row) for row in await connection.fetch(_MOUNTS, one["id"], now)],
        devices=sorted(await tick("disk_io"), key=lambda row: row["device"]),
        interfaces=sorted(await tick("network"), key=lambda row: row["interface"]),
        by_cpu=_top(processes, "cpu_rank"),
        by_memory=_top(processes, "memory_rank"),
        alerts=[dict(row) for row in await connection.fetch(_FIRING, one["id"])],
    )


def _top(processes: Sequence[Mapping[str, Any]], rank: str) -> list[Mapping[str, Any]]:
    """Return those that have a rank, in its order."""
    ranked = (each for each in processes if each[rank] is not None)
    return sorted(ranked, key=lambda each: each[rank])[:PROCESSES]
