"""The servers that are watched: their names, what is known of them, whether they are heard."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import audit, now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import asyncpg

    from storage.database import Connection

NAME_MAX_CHARACTERS = 253  # of a domain name (RFC 1035, section 3.1), written without the root
FACT_COLUMNS = (
    "hostname",
    "os_name",
    "os_version",
    "kernel_version",
    "architecture",
    "cpu_model",
    "cpu_cores_logical",
    "cpu_cores_physical",
    "memory_total_bytes",
    "boot_time",
    "python_version",
    "virtualization",
)

# Silence is judged by the database's clock, which also wrote last_seen, unless a time is given.
_SELECT = f"""
    SELECT s.id, s.name, s.status_reason, s.agent_version, s.labels, s.watch_offline, s.created_at,
           s.last_seen, s.clock_offset_ms, s.clock_is_wrong, {", ".join(FACT_COLUMNS)},
           CASE WHEN {now.silent("coalesce($1::timestamptz, now())")}
                THEN 'offline' ELSE s.status END AS status
    FROM server s
"""  # noqa: S608 - constants


class InvalidName(ValueError):
    """A server can't have this name."""


class Status(StrEnum):
    """Whether a server is heard."""

    NEW = "new"  # known by name, never heard
    ONLINE = "online"
    OFFLINE = "offline"  # silent for longer than max(60 s, 3 x its shortest interval)
    STOPPED = "stopped"  # it said goodbye


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server; facts that it never told are None."""

    id: int
    name: str
    status: Status
    status_reason: str | None
    agent_version: str | None
    labels: Mapping[str, str]
    watch_offline: bool
    created_at: datetime
    last_seen: datetime | None
    clock_offset_ms: float | None
    clock_is_wrong: bool
    facts: Mapping[str, object]


def check_name(name: str) -> None:
    """Refuse a name that can't be stored or shown.

    Raises:
        InvalidName: says what was expected and what came.
    """
    if not 1 <= len(name) <= NAME_MAX_CHARACTERS:
        raise InvalidName(
            f"must be 1 to {NAME_MAX_CHARACTERS} characters, got {len(name)} characters"
        )
    if not name.isprintable() or name != name.strip():
        raise InvalidName(
            f"must have no control characters and no space at its ends, got {name[:100]!r}"
        )


async def find_id(connection: Connection, name: str) -> int | None:
    """Return the id of a server; None if there is none of this name."""
    return await connection.fetchval("SELECT id FROM server WHERE name = $1", name)


async def find_or_create(connection: Connection, name: str, *, watch_offline: bool) -> int:
    """Return the id of a server, making it at need.

    `watch_offline` says for a new server whether its silence is an alert: an agent's is, that of a
    script which posts now and then is not.

    Raises:
        InvalidName: the name can't be.
    """
    check_name(name)
    # ON CONFLICT burns a number for each call, so only a missing name is inserted; when another
    # gateway was quicker, the second look finds its row (no transaction may be open from before).
    found = await find_id(connection, name)
    if found is None:
        found = await connection.fetchval(
            "INSERT INTO server (name, watch_offline) VALUES ($1, $2)"
            " ON CONFLICT (name) DO NOTHING RETURNING id",
            name,
            watch_offline,
        )
    if found is None:
        found = await find_id(connection, name)
    if found is None:
        raise RuntimeError(f"server {name!r} was neither found nor created")
    return found


async def find(connection: Connection, name: str, *, at: datetime | None = None) -> Server | None:
    """Return what is known of a server; None if there is none of this name."""
    row = await connection.fetchrow(f"{_SELECT} WHERE s.name = $2", at, name)
    return _server(row) if row else None


async def list_all(connection: Connection, *, at: datetime | None = None) -> list[Server]:
    """Return all servers by name."""
    return [_server(row) for row in await connection.fetch(f"{_SELECT} ORDER BY s.name", at)]


async def forget(connection: Connection, name: str, *, forgotten_by: str) -> bool:
    """Release a name from its machine, so that another one may take it; history stays.

    A live stream of the old machine is ended, and silence under this name is no alert until an
    agent claims it again. Returns whether there is such a server.
    """
    async with connection.transaction():
        done = await connection.execute(
            "UPDATE server SET machine_id = NULL, session = NULL, watch_offline = false,"
            " status = 'stopped', status_reason = 'forgotten' WHERE name = $1",
            name,
        )
        if done != "UPDATE 1":
            return False
        await audit.record(connection, actor=forgotten_by, action="server.forget", subject=name)
    return True


def _server(row: asyncpg.Record) -> Server:
    """Make a server of a row."""
    return Server(
        id=row["id"],
        name=row["name"],
        status=Status(row["status"]),
        status_reason=row["status_reason"],
        agent_version=row["agent_version"],
        labels=row["labels"],
        watch_offline=row["watch_offline"],
        created_at=row["created_at"],
        last_seen=row["last_seen"],
        clock_offset_ms=row["clock_offset_ms"],
        clock_is_wrong=row["clock_is_wrong"],
        facts={name: row[name] for name in FACT_COLUMNS},
    )
