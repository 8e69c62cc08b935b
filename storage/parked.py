"""Batches refused by the database for a reason that is not in their values: kept, bytes and all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

LIST = """
SELECT d.id, d.parked_at, s.name, d.server_id, d.epoch, d.seq, d.batch, d.sqlstate, d.error
FROM dead_letter d LEFT JOIN server s ON s.id = d.server_id
WHERE d.replayed_at IS NULL ORDER BY d.id
"""

TAKE = """
SELECT server_id, epoch, seq FROM dead_letter
WHERE id = $1 AND replayed_at IS NULL FOR UPDATE
"""

# Only while it is missing: the batch may have been sent and stored again, or parked twice.
FILL_GAP = """
UPDATE ingest_gap SET seqs = seqs - int8multirange(int8range($3, $3, '[]'))
WHERE server_id = $1 AND epoch = $2 AND reason = 'parked' AND seqs @> $3::bigint
RETURNING from_time
"""

FINISH = "UPDATE dead_letter SET replayed_at = now() WHERE id = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A batch that waits to be looked at; `batch` is the StreamRequest that it came in."""

    id: int
    parked_at: datetime
    server: str | None
    server_id: int
    epoch: int
    seq: int
    batch: bytes
    sqlstate: str | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A gap that a parked batch fills, and when its samples were taken, where that is known."""

    time: datetime | None


async def find(connection: Connection) -> Sequence[Parked]:
    """Return all that are parked, the oldest first."""
    return [
        Parked(
            id=row["id"],
            parked_at=row["parked_at"],
            server=row["name"],
            server_id=row["server_id"],
            epoch=row["epoch"],
            seq=row["seq"],
            batch=row["batch"],
            sqlstate=row["sqlstate"],
            error=row["error"],
        )
        for row in await connection.fetch(LIST)
    ]


async def take(connection: Connection, parked_id: int) -> Place | None:
    """Finish a parked batch and its gap; in the transaction that stores its rows.

    Returns None where nothing is missing: it is finished, and must not be stored.
    """
    row = await connection.fetchrow(TAKE, parked_id)
    if row is None:
        return None
    gaps = await connection.fetch(FILL_GAP, row["server_id"], row["epoch"], row["seq"])
    await connection.execute("DELETE FROM ingest_gap WHERE isempty(seqs)")
    await connection.execute(FINISH, parked_id)
    return Place(time=gaps[0]["from_time"]) if gaps else None
