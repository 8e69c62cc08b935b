"""The way into the database: many agents' batches, one transaction, then the acks.

    sessions, HTTP --submit--> queue --flush--> COPY, ledger, commit --settle--> acks

The queue is bounded: `submit` waits for room, its caller stops reading its stream, and HTTP/2 flow
control holds the agent back. Nothing leaves the queue without a verdict, and no verdict but a
fenced stream's is given before the commit.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from collector_gateway.flusher import Flusher
from collector_gateway.lanes import Lanes, Outcome, Submission, hour_of
from collector_gateway.transactions import Transactions
from hostpulse import backoff, errors
from storage import ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from collector_gateway.metrics import Metrics
    from collector_gateway.services import Rows
    from storage import requests
    from storage.database import Pool

FLUSH_EVERY_S = 0.05  # at most so often: one commit serves everybody who comes within it
HTTP_WAIT_S = 10.0
GIVE_WAY_S = 1.0  # after a piece of backlog found its tables locked

log = structlog.get_logger()


class Ingest:
    """The queue and its one flusher.

    Args:
        pool: for flushes only.
        session_of: the fencing token that this gateway holds for a server now.
        repair: asks for maintenance at once, where there is no partition for a row.
        metrics: counters of this process.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        session_of: Callable[[int], UUID | None],
        repair: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._lanes = Lanes()
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._aside: list[Submission] = []  # the piece of backlog that gave way
        self._aside_until_s = 0.0
        self._is_held_up = False
        self._flusher = Flusher(
            pool,
            Transactions(session_of=session_of, metrics=metrics),
            repair=repair,
            stop=self._stop,
            metrics=metrics,
        )
        metrics.queue_batches.set_function(lambda: len(self._lanes))
        metrics.backlog_batches.set_function(lambda: self._lanes.backlog)

    @property
    def stalled_s(self) -> float:
        """For how long flushes have been failing, in seconds; 0 where they work."""
        return self._flusher.stalled_s

    async def submit(self, submission: Submission) -> None:
        """Queue a submission; waits for room in its lane. It is settled once, by `settle`."""
        await self._lanes.put(submission)
        self._arrived.set()

    async def store(
        self,
        *,
        server_id: int,
        rows: Rows,
        taken: datetime,
        request: requests.Request,
    ) -> bool:
        """Store rows that came over HTTP: all or none, durable on return.

        Returns False where the same request was stored before: these rows were not.

        Raises:
            Retryable: not within 10 s; they may or may not be stored yet.
            Permanent: the database refuses them for good.
        """
        done: asyncio.Future[tuple[Outcome, str]] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome, detail: str) -> None:
            if not done.done():
                done.set_result((outcome, detail))

        try:
            async with asyncio.timeout(HTTP_WAIT_S):
                await self.submit(
                    Submission(
                        server_id=server_id,
                        taken=taken,
                        rows=lambda: rows,
                        settle=settle,
                        request=request,
                        hour=hour_of(taken, datetime.now(UTC)),
                        touch=ledger.Touch(server_id=server_id),
                    )
                )
                outcome, detail = await done
        except TimeoutError as error:
            raise errors.Retryable("the database is too slow or away", after_s=5.0) from error
        if outcome not in {Outcome.COMMITTED, Outcome.REPEATED}:
            raise errors.Permanent(detail)
        return outcome is Outcome.COMMITTED

    def stop(self) -> None:
        """Ask `run` to flush what is queued and return."""
        self._stop.set()
        self._arrived.set()

    async def run(self) -> None:
        """Flush until stopped; the last flushes take what is queued, if the database lets them."""
        next_s = 0.0
        while self._waiting or not self._stop.is_set():
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if self._aside or not self._lanes.is_worth_a_flush:
                await backoff.pause(next_s - time.monotonic(), self._stop)
            next_s = time.monotonic() + FLUSH_EVERY_S
            if work := self._lanes.take_live():
                await self._flusher.flush(work)
            await self._flush_backlog()

    @property
    def _waiting(self) -> int:
        """How many submissions have no verdict."""
        return len(self._lanes) + len(self._aside)

    async def _flush_backlog(self) -> None:
        """Flush a piece of backlog; where its tables are locked it waits, and nobody behind it.

        TimescaleDB lets nothing be written into a chunk while it compresses it: of a thousand
        servers that can take half a minute.
        """
        stopping = self._stop.is_set()
        if not stopping and time.monotonic() < self._aside_until_s:
            return
        work, self._aside = self._aside or self._lanes.take_backlog(), []
        if work:
            left = await self._flusher.flush(work, gives_way=not stopping)
            if bool(left) != self._is_held_up:
                self._is_held_up = bool(left)
                log.info("backlog_waits_for_a_lock" if left else "backlog_goes_on")
            if not self._stop.is_set():
                self._aside, self._aside_until_s = left, time.monotonic() + GIVE_WAY_S * bool(left)
