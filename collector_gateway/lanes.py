"""What waits for a flush: fresh batches in one lane, each clock hour of the backlog in another.

TimescaleDB logs one range of invalidated time for each transaction: one that holds a fresh row and
an old one makes the next refresh of a rollup read everything between the two. So no two lanes ever
share a flush. Fresh batches and the backlog take turns, and a flush of the backlog is small enough
that the fresh ones which come meanwhile are not late.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from collector_gateway.services import Rows
    from storage import ledger, requests

LIVE_MAX_BATCHES = 20_000
LIVE_MAX_BYTES = 64 * 1024 * 1024
LIVE_FLUSH_BATCHES = 2_000
BACKLOG_MAX_BATCHES = 4_000  # also what credits are given out for
BACKLOG_MAX_BYTES = 32 * 1024 * 1024
BACKLOG_FLUSH_BATCHES = 200  # about a tenth of a second on two busy cores
LIVE_MAX_AGE_S = 300.0  # what is older belongs to the backlog, whatever its sender says
HOUR_S = 3600


class Outcome(Enum):
    """What became of a submission."""

    COMMITTED = auto()
    REJECTED = auto()  # for good, and recorded as a gap where it had a number
    PARKED = auto()  # not stored as rows, but its bytes are kept in dead_letter
    FENCED = auto()  # another stream owns the server
    REPEATED = auto()  # the same HTTP request was stored before


@dataclass(slots=True, kw_only=True, eq=False)
class Submission:
    """Rows of one moment (`taken`) that are stored together, and whom to tell.

    `rows` makes them, by table: what waits, waits as it came, for rows take ten times the memory.
    `batch` is None for what came over HTTP; `request` then is what makes it the same request. `gap`
    marks a batch that is refused for good: it has no rows, and the gap is recorded when the ledger
    takes its number. `dropped` is what the agent itself gave up, `touch` that it was heard from.
    `hour` is None for what is fresh, else the hour since 1970 that all rows lie in.
    """

    server_id: int
    taken: datetime | None  # None where there are no rows
    rows: Callable[[], Rows]
    settle: Callable[[Outcome, str], None]
    batch: ledger.BatchId | None = None
    request: requests.Request | None = None
    session: UUID | None = None
    raw: bytes = b""
    gap: ledger.Gap | None = None
    dropped: ledger.Gap | None = None
    touch: ledger.Touch
    hour: int | None = None
    submitted_s: float = field(default_factory=time.monotonic)

    @property
    def request_id(self) -> tuple[int, str] | None:
        """What makes an HTTP request the same request."""
        return None if self.request is None else (self.server_id, self.request.key)


def hour_of(taken: datetime, now: datetime, *, is_backlog: bool = False) -> int | None:
    """Return the clock hour of the backlog that a sample belongs to; None for a fresh one."""
    if not is_backlog and (now - taken).total_seconds() <= LIVE_MAX_AGE_S:
        return None
    return int(taken.timestamp()) // HOUR_S


class _Lane:
    """Submissions in order, with their count and bytes bounded."""

    def __init__(self, max_batches: int, max_bytes: int) -> None:
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self.queues: OrderedDict[int | None, deque[Submission]] = OrderedDict()
        self.batches = 0
        self.bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, submission: Submission) -> None:
        """Add a submission; waits for room."""
        while self.batches >= self._max_batches or self.bytes >= self._max_bytes:
            self._room.clear()
            await self._room.wait()
        self.queues.setdefault(submission.hour, deque()).append(submission)
        self.batches += 1
        self.bytes += len(submission.raw)

    def take(self, at_most: int) -> list[Submission]:
        """Take what goes into one transaction: of the hour that waits longest."""
        if not self.queues:
            return []
        hour, queue = self.queues.popitem(last=False)
        taken = [queue.popleft() for _ in range(min(len(queue), at_most))]
        if queue:
            self.queues[hour] = queue  # behind the others: none starves
        self.batches -= len(taken)
        self.bytes -= sum(len(s.raw) for s in taken)
        self._room.set()
        return taken


class Lanes:
    """The two lanes; both are bounded, each for itself."""

    def __init__(self) -> None:
        self._live = _Lane(LIVE_MAX_BATCHES, LIVE_MAX_BYTES)
        self._backlog = _Lane(BACKLOG_MAX_BATCHES, BACKLOG_MAX_BYTES)

    def __len__(self) -> int:
        """Return how many submissions wait."""
        return self._live.batches + self._backlog.batches

    @property
    def backlog(self) -> int:
        """How many submissions of the backlog wait."""
        return self._backlog.batches

    @property
    def is_worth_a_flush(self) -> bool:
        """Whether there is enough for a flush, so that it need not wait for company."""
        return self._live.batches >= LIVE_FLUSH_BATCHES or (
            self._backlog.batches >= BACKLOG_FLUSH_BATCHES // 4
        )

    async def put(self, submission: Submission) -> None:
        """Queue a submission; waits for room in its lane."""
        await (self._live if submission.hour is None else self._backlog).put(submission)

    def take_live(self) -> list[Submission]:
        """Take the fresh batches that go into one transaction."""
        return self._live.take(LIVE_FLUSH_BATCHES)

    def take_backlog(self) -> list[Submission]:
        """Take the piece of backlog that goes into one transaction."""
        return self._backlog.take(BACKLOG_FLUSH_BATCHES)
