"""The append-only record of who did what, and of what was denied.

A trigger refuses every change of a row that is younger than a year. An action's row is written in
the transaction of the action. Repeated denials are one row a minute with a count
(`collector_gateway/denials.py`), so that nobody can fill the table by knocking.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Connection

LIMIT_MAX = 1000

# Of whoever sent the request that is being answered. The doors set it, so that no action can forget
# it; commands, and what a process does by itself, have none.
caller_address: ContextVar[str | None] = ContextVar("caller_address", default=None)

RECORD = """
INSERT INTO audit (actor, action, object, allowed, address, detail, count)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# An action may be given whole or by its noun: `key` is also key.create.
FIND = """
SELECT id, time, actor, action, object, allowed, address, detail, count
FROM audit
WHERE ($1::timestamptz IS NULL OR time >= $1) AND ($2::text IS NULL OR actor = $2)
  AND ($3::text IS NULL OR action = $3 OR split_part(action, '.', 1) = $3)
  AND ($4::bigint IS NULL OR id < $4)
ORDER BY id DESC LIMIT $5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row; `count` is more than 1 for repeated denials."""

    id: int
    time: datetime
    actor: str
    action: str
    object: str | None
    allowed: bool
    address: str | None
    detail: Mapping[str, Any]
    count: int


async def record(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str | None,
    allowed: bool = True,
    address: str | None = None,
    detail: Mapping[str, Any] | None = None,
    count: int = 1,
) -> None:
    """Write one line; `action` is `noun.verb`, `subject` is what it was done to.

    Without an address it is the caller's.
    """
    origin = address or caller_address.get()
    await connection.execute(
        RECORD, actor, action, subject, allowed, origin, dict(detail or {}), count
    )


async def find(
    connection: Connection,
    *,
    since: datetime | None = None,
    actor: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """Return the newest rows first; `before` is an id, to go on from an answer that was full."""
    rows = await connection.fetch(FIND, since, actor, action, before, min(limit, LIMIT_MAX))
    return [Entry(**dict(row)) for row in rows]


def describe(entry: Entry) -> dict[str, object]:
    """Return a row as JSON."""
    return {
        "id": entry.id,
        "time": entry.time.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "object": entry.object,
        "allowed": entry.allowed,
        "address": entry.address,
        "detail": dict(entry.detail),
        "count": entry.count,
    }
