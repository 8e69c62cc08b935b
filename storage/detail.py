"""What one server does now: the newest tick of each family, and its alerts.

Everything here is open to the role that may only read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from storage import now, overview, servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

PROCESSES = 10

# The rows of a family's newest tick; of disk_usage the newest of each mount.
_TICK = f"""SELECT * FROM {{table}} WHERE server_id = $1 AND time = (
  SELECT time FROM {{table}}
  WHERE server_id = $1 AND time > $2::timestamptz - interval '{now.FRESH}' AND time <= $2
  ORDER BY time DESC LIMIT 1)"""  # noqa: S608 - constants
_MOUNTS = f"""SELECT DISTINCT ON (mount) * FROM disk_usage
WHERE server_id = $1 AND time > $2::timestamptz - interval '{now.FRESH}' AND time <= $2
ORDER BY mount, time DESC"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One server's newest tick of each family, as its tables' columns; {} if there is none."""

    server: str
    state: str  # one of `now.STATES`
    last_seen: datetime | None
    cpu: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memory: Mapping[str, Any] = field(default_factory=dict[str, Any])
    mounts: Sequence[Mapping[str, Any]] = ()
    devices: Sequence[Mapping[str, Any]] = ()
    interfaces: Sequence[Mapping[str, Any]] = ()
    by_cpu: Sequence[Mapping[str, Any]] = ()
    by_memory: Sequence[Mapping[str, Any]] = ()
    alerts: Sequence[overview.Firing] = ()


async def read(connection: Connection, name: str, *, at: datetime) -> Detail | None:
    """Return what a server does at a moment, which is now by some clock; None if there is none."""
    server = await servers.find(connection, name, at=at)
    if server is None:
        return None

    async def tick(table: str) -> list[dict[str, Any]]:
        rows = await connection.fetch(_TICK.format(table=table), server.id, at)
        return [dict(row) for row in rows]

    cpu, memory, processes = await tick("cpu"), await tick("memory"), await tick("process")
    firing = await overview.read_firing(connection, server.id)
    return Detail(
        server=server.name,
        state=overview.state_of(server, firing),
        last_seen=server.last_seen,
        cpu=cpu[0] if cpu else {},
        memory=memory[0] if memory else {},
        mounts=[dict(row) for row in await connection.fetch(_MOUNTS, server.id, at)],
        devices=sorted(await tick("disk_io"), key=lambda row: row["device"]),
        interfaces=sorted(await tick("network"), key=lambda row: row["interface"]),
        by_cpu=_top(processes, "cpu_rank"),
        by_memory=_top(processes, "memory_rank"),
        alerts=firing,
    )


def _top(processes: Sequence[Mapping[str, Any]], rank: str) -> list[Mapping[str, Any]]:
    """Return those that have a rank, in its order."""
    ranked = (each for each in processes if each[rank] is not None)
    return sorted(ranked, key=lambda each: each[rank])[:PROCESSES]
