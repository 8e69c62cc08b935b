"""The ledger: which batches are stored, once and for all.

`accept` and `give_up` alone write `ingest_ledger.committed`. `accept` runs last in the
transaction that copied the rows, so that a gateway frozen in the middle holds no ledger row; it
locks the rows it needs in one order first, so that two gateways never wait for each other in a
circle; and it collects all numbers of a row before it updates it, because UPDATE ... FROM applies
only one of several matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from asyncpg import Range

    from storage.database import Connection

ACCEPT = """
WITH incoming AS (
  SELECT server_id, epoch, range_agg(int8range(seq, seq, '[]')) AS seqs
  FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS i (server_id, epoch, seq)
  GROUP BY server_id, epoch
), fence AS (
  SELECT server_id, session FROM unnest($4::int[], $5::uuid[]) AS f (server_id, session)
), locked AS (
  SELECT l.server_id, l.epoch, l.committed
  FROM ingest_ledger l JOIN incoming USING (server_id, epoch)
  ORDER BY l.server_id, l.epoch
  FOR UPDATE OF l
)
UPDATE ingest_ledger l
SET committed = k.committed + i.seqs, updated_at = now()
FROM locked k
JOIN incoming i USING (server_id, epoch)
JOIN fence f USING (server_id)
JOIN server s ON s.id = k.server_id AND s.session = f.session
WHERE l.server_id = k.server_id AND l.epoch = k.epoch
RETURNING l.server_id, l.epoch, i.seqs * k.committed AS known
"""

# Rows in the order of their ids: claims and other gateways lock the same ones. The next touch says
# it again, so that nobody waits for the disk with the rows locked.
TOUCH = """
WITH quick AS MATERIALIZED (
  SELECT set_config('synchronous_commit', 'off', true) AS mode
), seen AS (
  SELECT id, session, clock_offset_ms, clock_is_wrong
  FROM unnest($1::int[], $2::uuid[], $3::real[], $4::bool[])
    AS t (id, session, clock_offset_ms, clock_is_wrong)
), locked AS (
  SELECT s.id, s.session FROM server s JOIN seen USING (id) ORDER BY s.id FOR NO KEY UPDATE OF s
)
UPDATE server s
SET last_seen = now(), status = 'online', status_reason = NULL,
    clock_offset_ms = coalesce(t.clock_offset_ms, s.clock_offset_ms),
    clock_is_wrong = coalesce(t.clock_is_wrong, s.clock_is_wrong)
FROM locked k JOIN seen t USING (id), quick
WHERE s.id = k.id AND (t.session IS NULL OR t.session = k.session) AND quick.mode = 'off'
"""

RECORD_GAPS = """
INSERT INTO ingest_gap (server_id, epoch, seqs, from_time, to_time, reason, detail)
SELECT server_id, epoch, int8multirange(int8range(first_seq, last_seq, '[]')), from_time, to_time,
       reason, detail
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[],
            $6::timestamptz[], $7::text[], $8::text[])
  AS g (server_id, epoch, first_seq, last_seq, from_time, to_time, reason, detail)
"""

# What the agent reports as dropped may be reported again, or be stored already: only the numbers
# that nothing is known of become a gap.
GIVE_UP = """
WITH locked AS (
  SELECT l.server_id, l.epoch, l.committed,
         int8multirange(int8range($4, $5, '[]')) - l.committed AS missing
  FROM ingest_ledger l JOIN server s ON s.id = l.server_id AND s.session = $3
  WHERE l.server_id = $1 AND l.epoch = $2
  FOR UPDATE OF l
), taken AS (
  UPDATE ingest_ledger l SET committed = k.committed + k.missing, updated_at = now()
  FROM locked k WHERE l.server_id = k.server_id AND l.epoch = k.epoch
)
INSERT INTO ingest_gap (server_id, epoch, seqs, from_time, to_time, reason, detail)
SELECT server_id, epoch, missing, $6, $7, $8, $9 FROM locked WHERE NOT isempty(missing)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchId:
    """What makes a batch the same batch, wherever and however often it is sent."""

    server_id: int
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What the ledger said of the batches of one flush."""

    accepted: frozenset[BatchId]
    known: frozenset[BatchId]  # committed before: their rows must not stay
    fenced: frozenset[BatchId]  # another stream owns the server now, or the epoch was never claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Batches given up: their numbers (both ends included), times and the reason."""

    server_id: int
    epoch: int
    first_seq: int
    last_seq: int
    from_time: datetime | None
    to_time: datetime | None
    reason: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A server that was heard from; None leaves what is stored about its clock.

    `session` is the fencing token of the stream that brought it; None for what was posted.
    """

    server_id: int
    session: UUID | None = None
    clock_offset_ms: float | None = None
    clock_is_wrong: bool | None = None


def contains(ranges: Iterable[Range[int]], seq: int) -> bool:
    """Return whether a multirange, as asyncpg reads it, holds a number."""
    return any((r.lower or 0) <= seq < (r.upper or seq + 1) for r in ranges)


async def accept(
    connection: Connection, batches: Sequence[BatchId], sessions: Mapping[int, UUID]
) -> Verdicts:
    """Enter batches into the ledger; only gaps may follow in their transaction.

    Where anything but `accepted` comes back, the caller rolls back and repeats without the rest.

    Args:
        connection: in the transaction that copied the batches' rows.
        batches: each one once.
        sessions: the fencing token under which each server's batches came.
    """
    rows = await connection.fetch(
        ACCEPT,
        [b.server_id for b in batches],
        [b.epoch for b in batches],
        [b.seq for b in batches],
        list(sessions),
        list(sessions.values()),
    )
    known_ranges: dict[tuple[int, int], Sequence[Range[int]]] = {
        (row["server_id"], row["epoch"]): row["known"] for row in rows
    }
    accepted: set[BatchId] = set()
    known: set[BatchId] = set()
    fenced: set[BatchId] = set()
    for batch in batches:
        ranges = known_ranges.get((batch.server_id, batch.epoch))
        if ranges is None:
            fenced.add(batch)
        elif contains(ranges, batch.seq):
            known.add(batch)
        else:
            accepted.add(batch)
    return Verdicts(accepted=frozenset(accepted), known=frozenset(known), fenced=frozenset(fenced))


async def give_up(connection: Connection, gap: Gap, session: UUID) -> None:
    """Take the numbers of a gap that the agent reports, as far as they are still free."""
    await connection.execute(
        GIVE_UP,
        gap.server_id,
        gap.epoch,
        session,
        gap.first_seq,
        gap.last_seq,
        gap.from_time,
        gap.to_time,
        gap.reason,
        gap.detail,
    )


async def touch(connection: Connection, touches: Iterable[Touch]) -> None:
    """Note in database time that servers were heard from; each server at most once.

    A stream that does not own its server any more says nothing of it. Not in a transaction: claims
    wait for these rows.
    """
    listed = list(touches)
    await connection.execute(
        TOUCH,
        [t.server_id for t in listed],
        [t.session for t in listed],
        [t.clock_offset_ms for t in listed],
        [t.clock_is_wrong for t in listed],
    )


async def record_gaps(connection: Connection, gaps: Sequence[Gap]) -> None:
    """Record batches that were given up; in the transaction that marks them committed."""
    await connection.execute(
        RECORD_GAPS,
        [g.server_id for g in gaps],
        [g.epoch for g in gaps],
        [g.first_seq for g in gaps],
        [g.last_seq for g in gaps],
        [g.from_time for g in gaps],
        [g.to_time for g in gaps],
        [g.reason for g in gaps],
        [g.detail for g in gaps],
    )
