"""What is missing of the samples that agents took: which, since when, and why.

Every batch has a number, so a hole in the numbers is a loss that nobody has to report. One that was
reported, refused or parked has its times and its reason; one that was not has those of its epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

SHOWN_MAX = 1000

LIST = """
SELECT s.name, l.epoch, l.first_seq, l.last_seq, l.batches, l.from_time, l.to_time, l.state,
       l.reason, l.detail
FROM ingest_loss l JOIN server s ON s.id = l.server_id
WHERE ($1::text IS NULL OR s.name = $1)
  AND ($2::timestamptz IS NULL OR coalesce(l.to_time, l.recorded_at) >= $2)
ORDER BY l.from_time DESC NULLS LAST, s.name, l.epoch, l.first_seq
LIMIT $3
"""

COUNT = """
SELECT s.name,
       coalesce(sum(l.batches) FILTER (WHERE l.state = 'lost'), 0)::bigint AS lost,
       coalesce(sum(l.batches) FILTER (WHERE l.state = 'parked'), 0)::bigint AS parked,
       coalesce(sum(l.batches) FILTER (WHERE l.state = 'pending'), 0)::bigint AS pending
FROM server s LEFT JOIN ingest_loss l
  ON l.server_id = s.id AND ($2::timestamptz IS NULL OR coalesce(l.to_time, l.recorded_at) >= $2)
WHERE $1::text IS NULL OR s.name = $1
GROUP BY s.name ORDER BY s.name
"""

# Of an epoch that its agent has not had for longer than a sample may be late, nothing can come any
# more: its holes are written down, and its rows go. In one statement, so that none is lost between.
COMPACT = """
WITH dead AS (
  DELETE FROM ingest_epoch WHERE closed_at < now() - interval '7 days' RETURNING *
), gone AS (
  DELETE FROM ingest_ledger l USING dead d
  WHERE l.server_id = d.server_id AND l.epoch = d.epoch
  RETURNING l.server_id, l.epoch, d.opened_at, d.closed_at,
    int8multirange(int8range(1, greatest(d.announced + 1, upper(l.committed), 1))) - l.committed
      AS missing
)
INSERT INTO ingest_gap (server_id, epoch, seqs, from_time, to_time, reason)
SELECT server_id, epoch, missing, opened_at, closed_at, 'unknown' FROM gone
WHERE NOT isempty(missing)
"""


class State(StrEnum):
    """Whether a batch that is not stored may still come."""

    LOST = "lost"
    PARKED = "parked"  # its bytes are in dead_letter, and can be replayed
    PENDING = "pending"  # the agent still has it, or it is on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Numbers from first to last of one epoch that are not stored.

    The times are None where nobody knows them.
    """

    server: str
    epoch: int
    first_seq: int
    last_seq: int
    batches: int
    from_time: datetime | None
    to_time: datetime | None
    state: State
    reason: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many batches of a server are not stored."""

    server: str
    lost: int
    parked: int
    pending: int


async def find(
    connection: Connection, server: str | None = None, *, since: datetime | None = None
) -> Sequence[Loss]:
    """Return what is missing, of one server or of all, the newest first; at most SHOWN_MAX."""
    return [
        Loss(
            server=row["name"],
            epoch=row["epoch"],
            first_seq=row["first_seq"],
            last_seq=row["last_seq"],
            batches=row["batches"],
            from_time=row["from_time"],
            to_time=row["to_time"],
            state=State(row["state"]),
            reason=row["reason"],
            detail=row["detail"],
        )
        for row in await connection.fetch(LIST, server, since, SHOWN_MAX)
    ]


async def count(
    connection: Connection, server: str | None = None, *, since: datetime | None = None
) -> Sequence[Count]:
    """Return how much is missing of one server or of each."""
    return [
        Count(server=row["name"], lost=row["lost"], parked=row["parked"], pending=row["pending"])
        for row in await connection.fetch(COUNT, server, since)
    ]
