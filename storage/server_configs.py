"""What each server is to run, made of all scopes, and what its agent answered.

A row of `server_config` is rewritten when its fields change, and gets the number of the change that
did it: for one server a number never means two things.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import config_fields, config_scopes, intervals
from storage.config_scopes import Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from storage.database import Connection

ADVISORY_LOCK = 7_240_006  # any number, the same for everybody who changes config or labels
CHANNEL = "hostpulse_config"

LOCK = "SELECT pg_advisory_xact_lock($1)"
CURRENT = """
SELECT DISTINCT ON (scope) * FROM config_revision ORDER BY scope, revision DESC
"""
NEXT = """
SELECT 1 + greatest(0, (SELECT max(revision) FROM config_revision),
                    (SELECT max(revision) FROM server_config))
"""
SERVERS = """
SELECT s.id, s.name, s.labels, c.revision, c.fields, c.sources
FROM server s LEFT JOIN server_config c ON c.server_id = s.id
"""
OF_SERVERS = f"{SERVERS} WHERE s.id = ANY($1) AND c.server_id IS NULL"
WRITE = """
INSERT INTO server_config (server_id, revision, fields, sources)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::jsonb[], $4::jsonb[])
ON CONFLICT (server_id) DO UPDATE
SET revision = excluded.revision, fields = excluded.fields, sources = excluded.sources,
    changed_at = CASE WHEN server_config.revision = excluded.revision
                      THEN server_config.changed_at ELSE now() END
"""
NOTIFY = "SELECT pg_notify($1, '')"
READ = "SELECT server_id, revision, fields FROM server_config WHERE server_id = ANY($1)"
CHANGED = """
SELECT c.server_id, c.revision, c.fields
FROM server_config c JOIN unnest($1::int[], $2::bigint[]) AS k (server_id, revision)
  ON k.server_id = c.server_id AND k.revision <> c.revision
"""
MISSING = """
SELECT id FROM unnest($1::int[]) AS k (id)
WHERE NOT EXISTS (SELECT FROM server_config c WHERE c.server_id = k.id)
"""
# A result counts while its stream owns the server.
RECORD = """
UPDATE server_config c
SET result_revision = r.revision, applied = r.applied, result_detail = r.detail, result_at = now()
FROM unnest($1::int[], $2::uuid[], $3::bigint[], $4::bool[], $5::text[])
       AS r (server_id, session, revision, applied, detail)
  JOIN server s ON s.id = r.server_id AND s.session = r.session
WHERE c.server_id = r.server_id
  AND (c.result_revision, c.applied, c.result_detail)
      IS DISTINCT FROM (r.revision, r.applied, r.detail)
RETURNING c.server_id, r.revision, r.applied, r.detail
"""
EVENTS = """
INSERT INTO event (server_id, kind, detail)
SELECT server_id, kind, detail FROM unnest($1::int[], $2::text[], $3::jsonb[])
  AS e (server_id, kind, detail)
"""
# In the order in which everybody locks servers.
RUNS = """
WITH told AS (
  SELECT s.id, r.revision
  FROM server s JOIN unnest($1::int[], $2::bigint[]) AS r (id, revision) ON r.id = s.id
  ORDER BY s.id FOR NO KEY UPDATE OF s
)
UPDATE server s SET config_revision = told.revision FROM told WHERE s.id = told.id
"""
# A server without a machine has no agent that could run anything: it is posted for.
STATUS = """
CASE WHEN s.machine_id IS NULL THEN 'none'
     WHEN c.result_revision = c.revision THEN CASE WHEN c.applied THEN 'applied' ELSE 'rejected' END
     WHEN coalesce(c.revision, 0) = 0 AND s.config_revision = 0 THEN 'none'
     ELSE 'pending' END
"""
COUNTS = f"""
SELECT {STATUS} AS status, count(*) AS servers
FROM server s LEFT JOIN server_config c ON c.server_id = s.id GROUP BY 1
"""  # noqa: S608 - a constant
STATES = f"""
SELECT s.name, s.config_revision AS running, s.labels, c.revision, c.fields, c.sources,
  c.result_detail, c.result_at, {STATUS} AS status
FROM server s LEFT JOIN server_config c ON c.server_id = s.id
"""  # noqa: S608 - a constant
STATE = f"{STATES} WHERE s.name = $1"
ALL_STATES = f"{STATES} ORDER BY s.name"
SCOPES = "SELECT revision, scope FROM config_revision WHERE revision = ANY($1)"


class Status(StrEnum):
    """What an agent made of what it is to run."""

    APPLIED = "applied"
    REJECTED = "rejected"
    PENDING = "pending"  # not told yet, or it has not answered
    NONE = "none"  # nothing is set and it runs its own settings, or it has no agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a server is to run; revision 0 is its own settings."""

    revision: int
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A server between what it is to run and what it runs.

    Attributes:
        fields: Each with the scope and the revision that it comes from.
        running: The revision that the agent said it runs.
        status: Of `revision`.
        detail: What the agent said with its verdict.
    """

    server: str
    revision: int
    fields: Mapping[str, tuple[object, str, int]]
    running: int
    status: Status
    detail: str | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An agent's verdict, from the stream with this fencing token."""

    server_id: int
    session: UUID
    revision: int
    applied: bool
    detail: str
    intervals_s: Mapping[str, float]


def revision_of(row: asyncpg.Record) -> Revision:
    """Make a revision of a row."""
    return Revision(
        revision=row["revision"],
        scope=config_scopes.parse(row["scope"]),
        priority=row["priority"],
        fields=row["fields"],
        author=row["author"],
        time=row["time"],
        comment=row["comment"],
    )


async def lock(connection: Connection) -> None:
    """Be the only one who writes `server_config` or labels until the transaction ends.

    It comes before any lock of a row, so that nobody waits in a circle.
    """
    await connection.execute(LOCK, ADVISORY_LOCK)


async def current(connection: Connection) -> list[Revision]:
    """Return the newest revision of each scope."""
    return [revision_of(row) for row in await connection.fetch(CURRENT)]


async def next_revision(connection: Connection) -> int:
    """Return a number that was never used; under the lock."""
    return await connection.fetchval(NEXT)


async def evaluate(connection: Connection, revision: int) -> None:
    """Write what all servers are to run now, and have gateways push it; under the lock.

    Args:
        connection: in a transaction.
        revision: of those whose fields change.

    Raises:
        ConfigError: A server would read nothing any more.
    """
    await _write(connection, await connection.fetch(SERVERS), revision, is_checked=True)
    await connection.execute(NOTIFY, CHANNEL)


async def settle(connection: Connection, server_ids: Sequence[int]) -> None:
    """Write what servers are to run that were not there when anything changed."""
    async with connection.transaction():
        await lock(connection)
        rows = await connection.fetch(OF_SERVERS, server_ids)
        newest = max((each.revision for each in await current(connection)), default=0)
        # A server that this leaves with nothing to read refuses it, and says so.
        await _write(connection, rows, newest, is_checked=False)


async def _write(
    connection: Connection, rows: Sequence[asyncpg.Record], revision: int, *, is_checked: bool
) -> None:
    scopes = [each for each in await current(connection) if each.fields]
    changed: list[tuple[int, int, dict[str, object], dict[str, int]]] = []
    for row in rows:
        merged = config_scopes.merge(scopes, name=row["name"], of=row["labels"])
        fields = {key: value for key, (value, _) in merged.items()}
        sources = {key: source for key, (_, source) in merged.items()}
        if (row["fields"], row["sources"]) == (fields, sources):
            continue
        if row["fields"] == fields:
            changed.append((row["id"], row["revision"], fields, sources))
            continue
        if is_checked:
            config_fields.check_whole(fields, of=f"config of server {row['name']}")
        first = row["fields"] is None
        changed.append((row["id"], 0 if first and not fields else revision, fields, sources))
    if changed:
        await connection.execute(WRITE, *(list(column) for column in zip(*changed, strict=True)))


async def read(connection: Connection, server_ids: Sequence[int]) -> dict[int, Wanted]:
    """Return what servers are to run, of those that are settled."""
    return _wanted(await connection.fetch(READ, server_ids))


async def changed(connection: Connection, known: Mapping[int, int]) -> dict[int, Wanted]:
    """Return what servers are to run, of those that were told another revision."""
    return _wanted(await connection.fetch(CHANGED, list(known), list(known.values())))


async def missing(connection: Connection, server_ids: Sequence[int]) -> list[int]:
    """Return which servers are not settled."""
    return [row["id"] for row in await connection.fetch(MISSING, server_ids)]


def _wanted(rows: Iterable[asyncpg.Record]) -> dict[int, Wanted]:
    return {
        row["server_id"]: Wanted(revision=row["revision"], fields=row["fields"]) for row in rows
    }


async def record(connection: Connection, results: Sequence[Result]) -> None:
    """Write what agents answered, as events, too, and the intervals in force; one a server."""
    async with connection.transaction():
        await lock(connection)
        told = await connection.fetch(
            RECORD,
            [r.server_id for r in results],
            [r.session for r in results],
            [r.revision for r in results],
            [r.applied for r in results],
            [r.detail for r in results],
        )
        if not told:
            return
        await connection.execute(
            EVENTS,
            [row["server_id"] for row in told],
            ["config_applied" if row["applied"] else "config_rejected" for row in told],
            [
                {"revision": row["revision"]} | ({"detail": row["detail"]} if row["detail"] else {})
                for row in told
            ],
        )
        applied = {row["server_id"]: row["revision"] for row in told if row["applied"]}
        await connection.execute(RUNS, list(applied), list(applied.values()))
        heard = {row["server_id"] for row in told}
        await intervals.replace(
            connection,
            {r.server_id: r.intervals_s for r in results if r.server_id in heard},
            families=config_fields.FAMILIES,
        )


async def count(connection: Connection) -> dict[Status, int]:
    """Return how many servers there are of each status."""
    found = {row["status"]: row["servers"] for row in await connection.fetch(COUNTS)}
    return {status: found.get(status, 0) for status in Status}


async def state(connection: Connection, name: str) -> State | None:
    """Return what a server is to run and runs; None if there is none of this name."""
    row = await connection.fetchrow(STATE, name)
    return (await _states(connection, [row]))[0] if row else None


async def states(connection: Connection) -> list[State]:
    """Return the same of all servers, by name."""
    return await _states(connection, await connection.fetch(ALL_STATES))


async def _states(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[State]:
    sources = {number for row in rows for number in (row["sources"] or {}).values()}
    scopes = {
        row["revision"]: row["scope"] for row in await connection.fetch(SCOPES, list(sources))
    }
    return [_state(row, scopes) for row in rows]


def _state(row: asyncpg.Record, scopes: Mapping[int, str]) -> State:
    sources: Mapping[str, int] = row["sources"] or {}
    fields: Mapping[str, object] = row["fields"] or {}
    revision: int = row["revision"] or 0
    status = Status(row["status"])
    answered = status in (Status.APPLIED, Status.REJECTED)
    return State(
        server=row["name"],
        revision=revision,
        fields={
            key: (value, scopes.get(sources[key], ""), sources[key])
            for key, value in fields.items()
        },
        running=row["running"],
        status=status,
        detail=(row["result_detail"] or None) if answered else None,
        answered_at=row["result_at"] if answered else None,
    )


def shown(state: State) -> dict[str, object]:
    """Write a state as JSON."""
    return {
        "server_id": state.server,
        "revision": state.revision,
        "fields": {
            key: {"value": value, "scope": scope, "revision": revision}
            for key, (value, scope, revision) in state.fields.items()
        },
        "agent": {
            "revision": state.running,
            "status": state.status,
            "detail": state.detail,
            "time": state.answered_at.isoformat() if state.answered_at else None,
        },
    }
