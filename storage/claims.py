"""Opening streams: who a stream belongs to, and what of its batches is stored already.

Many agents come back at once when a gateway restarts, so claims are made for many in one
transaction: 10 000 take a tenth of the time that they take one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from storage import intervals, server_configs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from asyncpg import Record

    from storage.database import Connection

# What Hello says of a host, as `server` has it.
FACTS = {
    "hostname": "text",
    "os_name": "text",
    "os_version": "text",
    "kernel_version": "text",
    "architecture": "text",
    "cpu_model": "text",
    "cpu_cores_logical": "int",
    "cpu_cores_physical": "int",
    "memory_total_bytes": "bigint",
    "boot_time": "timestamptz",
    "python_version": "text",
    "virtualization": "text",
}

CREATE_SERVERS = """
INSERT INTO server (name, watch_offline)
SELECT name, true FROM unnest($1::text[]) AS n (name)
WHERE NOT EXISTS (SELECT FROM server s WHERE s.name = n.name)
ON CONFLICT (name) DO NOTHING
"""

LOCK_SERVERS = """
SELECT id, name, machine_id, boot_id, agent_version, clock_offset_ms
FROM server WHERE name = ANY($1) ORDER BY id FOR NO KEY UPDATE
"""

TAKE_SERVERS = f"""
UPDATE server s
SET session = c.session, session_gateway = $1, session_since = now(), machine_id = c.machine_id,
    boot_id = c.boot_id, agent_version = c.agent_version, watch_offline = true,
    last_seen = now(), status = 'online', status_reason = NULL,
    config_revision = c.config_revision,
    {", ".join(f"{name} = coalesce(c.{name}, s.{name})" for name in FACTS)}
FROM unnest($2::int[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::bigint[],
            {", ".join(f"${i}::{kind}[]" for i, kind in enumerate(FACTS.values(), 8))})
  AS c (id, session, machine_id, boot_id, agent_version, config_revision, {", ".join(FACTS)})
WHERE s.id = c.id
"""  # noqa: S608 - names and types of this module

# ON CONFLICT alone waits for a flush that has the row.
OPEN_EPOCHS = """
INSERT INTO ingest_ledger (server_id, epoch)
SELECT server_id, epoch FROM unnest($1::int[], $2::bigint[]) AS e (server_id, epoch)
WHERE NOT EXISTS (
  SELECT FROM ingest_ledger l WHERE l.server_id = e.server_id AND l.epoch = e.epoch)
ON CONFLICT DO NOTHING
"""

ANNOUNCE_EPOCHS = """
INSERT INTO ingest_epoch (server_id, epoch, announced, held)
SELECT server_id, epoch, announced, held
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[])
  AS e (server_id, epoch, announced, held) ORDER BY server_id, epoch
ON CONFLICT (server_id, epoch) DO UPDATE
SET announced = greatest(ingest_epoch.announced, excluded.announced), closed_at = NULL,
    held = excluded.held,
    held_at = CASE WHEN excluded.held < ingest_epoch.announced
              THEN coalesce(ingest_epoch.held_at, now()) END
"""

# With its boot ends what is known of a clock: the next boot may have it set right.
KEEP_OFFSETS = """
UPDATE ingest_epoch e SET clock_offset_ms = b.clock_offset_ms
FROM unnest($1::int[], $2::bigint[], $3::real[]) AS b (server_id, epoch, clock_offset_ms)
WHERE e.server_id = b.server_id AND e.epoch <> b.epoch
  AND e.closed_at IS NULL AND e.clock_offset_ms IS NULL
"""

# What an agent does not announce any more it does not have any more.
CLOSE_EPOCHS = """
UPDATE ingest_epoch e SET closed_at = now()
WHERE e.server_id = ANY($1::int[]) AND e.closed_at IS NULL AND NOT EXISTS (
  SELECT FROM unnest($1::int[], $2::bigint[]) AS a (server_id, epoch)
  WHERE a.server_id = e.server_id AND a.epoch = e.epoch
)
"""

READ_EPOCHS = """
SELECT server_id, epoch, l.committed, o.clock_offset_ms
FROM unnest($1::int[], $2::bigint[]) AS e (server_id, epoch)
JOIN ingest_ledger l USING (server_id, epoch) JOIN ingest_epoch o USING (server_id, epoch)
"""

RECORD_EVENTS = """
INSERT INTO event (server_id, kind, detail)
SELECT server_id, kind, detail FROM unnest($1::int[], $2::text[], $3::jsonb[])
  AS e (server_id, kind, detail)
"""

RELEASE = """
UPDATE server SET session = NULL, status = 'stopped', status_reason = $3
WHERE id = $1 AND session = $2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a stream says of itself when it opens.

    Attributes:
        session: Its new fencing token.
        epochs: Those that it will send batches of; first the one that it numbers in now.
        announced: The last number given out in an epoch; nothing is 0.
    """

    server_name: str
    machine_id: str
    boot_id: UUID | None
    agent_version: str
    session: UUID
    epochs: tuple[int, ...]
    announced: Mapping[int, int] = field(default_factory=dict[int, int])
    config_revision: int = 0
    facts: Mapping[str, str | int | datetime | None] = field(
        default_factory=dict[str, "str | int | datetime | None"]
    )
    intervals_s: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The stream owns the server.

    Attributes:
        committed: (first, last) numbers by epoch, both included.
        clock_offset_ms: How far ahead its clock was when last compared; None is unknown.
        offsets_ms: The same for epochs of boots that are over.
    """

    server_id: int
    committed: Mapping[int, tuple[tuple[int, int], ...]]
    clock_offset_ms: float | None
    offsets_ms: Mapping[int, float] = field(default_factory=dict[int, float])
    config: server_configs.Wanted | None = None  # None: not settled yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Another machine has this name."""

    server_id: int
    machine_id: str


async def claim(
    connection: Connection, claims: Sequence[Claim], *, gateway: str
) -> list[Claimed | Refused]:
    """Give each stream its server, in one transaction; the answers are in the order of `claims`.

    At most one claim a name: of two streams that open at once, the caller lets the later one in.
    """
    async with connection.transaction():
        names = [c.server_name for c in claims]
        await connection.execute(CREATE_SERVERS, names)
        rows = {row["name"]: row for row in await connection.fetch(LOCK_SERVERS, names)}
        taken = [c for c in claims if rows[c.server_name]["machine_id"] in (None, c.machine_id)]
        ids = {c.server_name: rows[c.server_name]["id"] for c in claims}
        await _take(connection, taken, ids, gateway)
        await _record_changes(connection, taken, rows)
        opened = await _open_epochs(connection, taken, ids, rows)
        wanted = await server_configs.read(connection, [ids[c.server_name] for c in taken])
        await intervals.keep(
            connection,
            ((ids[c.server_name], f, s) for c in taken for f, s in c.intervals_s.items()),
        )
    accepted = {c.server_name for c in taken}
    return [
        Claimed(
            server_id=ids[c.server_name],
            committed={
                each["epoch"]: tuple((r.lower, r.upper - 1) for r in each["committed"])
                for each in opened[ids[c.server_name]]
            },
            clock_offset_ms=rows[c.server_name]["clock_offset_ms"],
            offsets_ms={
                each["epoch"]: each["clock_offset_ms"]
                for each in opened[ids[c.server_name]]
                if each["clock_offset_ms"] is not None
            },
            config=wanted.get(ids[c.server_name]),
        )
        if c.server_name in accepted
        else Refused(
            server_id=ids[c.server_name], machine_id=rows[c.server_name]["machine_id"] or ""
        )
        for c in claims
    ]


async def release(connection: Connection, server_id: int, session: UUID, reason: str) -> None:
    """Note that an agent said goodbye; does nothing where another stream owns the server."""
    async with connection.transaction():
        if await connection.execute(RELEASE, server_id, session, reason) == "UPDATE 1":
            detail = {"reason": reason}
            await connection.execute(RECORD_EVENTS, [server_id], ["goodbye"], [detail])


async def _take(
    connection: Connection, taken: Sequence[Claim], ids: Mapping[str, int], gateway: str
) -> None:
    """Write the new owners and what they said of their hosts."""
    await connection.execute(
        TAKE_SERVERS,
        gateway,
        [ids[c.server_name] for c in taken],
        [c.session for c in taken],
        [c.machine_id for c in taken],
        [c.boot_id for c in taken],
        [c.agent_version for c in taken],
        [c.config_revision for c in taken],
        *([c.facts.get(name) for c in taken] for name in FACTS),
    )


async def _record_changes(
    connection: Connection, taken: Sequence[Claim], rows: Mapping[str, Record]
) -> None:
    """Note boots and new versions; the first claim of a server is neither."""
    events: list[tuple[int, str, dict[str, str]]] = []
    for c in taken:
        before = rows[c.server_name]
        if before["boot_id"] is not None and c.boot_id != before["boot_id"]:
            events.append((before["id"], "boot", {"boot_id": str(c.boot_id)}))
        if before["agent_version"] not in (None, c.agent_version):
            versions = {"from": before["agent_version"], "to": c.agent_version}
            events.append((before["id"], "version_changed", versions))
    if events:
        await connection.execute(
            RECORD_EVENTS, *(list(column) for column in zip(*events, strict=True))
        )


async def _open_epochs(
    connection: Connection,
    taken: Sequence[Claim],
    ids: Mapping[str, int],
    rows: Mapping[str, Record],
) -> Mapping[int, Sequence[Record]]:
    """Make ledger rows where they are missing, and read what is known of each server's epochs."""
    opened = {(ids[c.server_name], e): c.announced.get(e, 0) for c in taken for e in c.epochs}
    numbering = {(ids[c.server_name], c.epochs[0]) for c in taken}
    columns = [server_id for server_id, _ in opened], [epoch for _, epoch in opened]
    held = [None if key in numbering else last for key, last in opened.items()]
    await connection.execute(OPEN_EPOCHS, *columns)
    await connection.execute(ANNOUNCE_EPOCHS, *columns, list(opened.values()), held)
    await connection.execute(CLOSE_EPOCHS, *columns)
    booted = [
        (before["id"], c.epochs[0], before["clock_offset_ms"])
        for c in taken
        if (before := rows[c.server_name])["boot_id"] not in (None, c.boot_id)
    ]
    if booted:
        values = (list(column) for column in zip(*booted, strict=True))
        await connection.execute(KEEP_OFFSETS, *values)
    found: dict[int, list[Record]] = {server_id: [] for server_id, _ in opened}
    for row in await connection.fetch(READ_EPOCHS, *columns):
        found[row["server_id"]].append(row)
    return found
