"""From submissions to their verdicts, whatever the database says.

One error means one of three things (storage/errors.py): the database can't just now, so the same is
tried again, in halves where it took too long; it refuses a submission, which is found by halving
and rejected; or nobody understands it, and then the submission is parked, bytes and all.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import structlog

from collector_gateway.lanes import Outcome
from hostpulse import backoff
from storage import ledger
from storage.errors import Verdict, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector_gateway.lanes import Submission
    from collector_gateway.metrics import Metrics
    from collector_gateway.transactions import Transactions
    from storage.database import Pool

FLUSH_TIMEOUT_S = 30.0  # client side, above the pool's statement timeout
ACQUIRE_TIMEOUT_S = 5.0
UNKNOWN_ERROR_TRIES = 5  # before a batch is parked
SLOW_TRIES = 3  # of a transaction that does not end in time, before it is halved
REPAIR_WITHIN_S = 60.0  # of missing partitions, before a batch is parked
BACKOFF = backoff.BackoffPolicy(initial_s=0.2, maximum_s=5.0)

PARK = """
INSERT INTO dead_letter (server_id, epoch, seq, batch, sqlstate, error)
VALUES ($1, $2, $3, $4, $5, $6)
"""

log = structlog.get_logger()


class Flusher:
    """Gives each submission a verdict.

    Args:
        pool: for flushes only.
        transactions: store what can be stored.
        repair: asks for maintenance at once, where there is no partition for a row.
        stop: set when what has no verdict may be left without one.
        metrics: counters of this process.
    """

    def __init__(
        self,
        pool: Pool,
        transactions: Transactions,
        *,
        repair: Callable[[], None],
        stop: asyncio.Event,
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._transactions = transactions
        self._repair = repair
        self._stop = stop
        self._metrics = metrics
        self._stalled_since_s: float | None = None
        self._last_problem = ""

    @property
    def stalled_s(self) -> float:
        """For how long flushes have been failing, in seconds; 0 where they work."""
        since = self._stalled_since_s
        return 0.0 if since is None else time.monotonic() - since

    async def flush(self, work: list[Submission], *, gives_way: bool = False) -> list[Submission]:
        """Store submissions and settle each; return those that have no verdict.

        There are such when it is to stop, and, where it `gives_way`, when others hold a lock.
        """
        tries = slow = 0
        waits = backoff.delays(BACKOFF)
        while work:
            started_s = time.monotonic()
            try:
                async with (
                    asyncio.timeout(FLUSH_TIMEOUT_S),
                    self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
                ):
                    work = await self._transactions.store(connection, work)
            except Exception as error:
                if gives_way and isinstance(error, asyncpg.LockNotAvailableError):
                    self._metrics.flush_failures.labels(verdict="gives_way").inc()
                    return work
                verdict = classify(error)
                self._report(error, verdict, len(work))
                if verdict is Verdict.REPAIR:
                    self._repair()
                    verdict = Verdict.PARK if self.stalled_s > REPAIR_WITHIN_S else Verdict.WAIT
                elif verdict is Verdict.RETRY:
                    tries += 1
                    verdict = Verdict.PARK if tries >= UNKNOWN_ERROR_TRIES else Verdict.WAIT
                slow += isinstance(error, TimeoutError | asyncpg.QueryCanceledError)
                if verdict is Verdict.WAIT and slow >= SLOW_TRIES and len(work) > 1:
                    return await self._halve(work)
                if verdict is not Verdict.WAIT:
                    return await self._isolate(work, verdict, error)
                if await backoff.pause(next(waits), self._stop) and self._stop.is_set():
                    return work  # the agents still have it and will send it again
            else:
                self._recovered()
                self._metrics.flush_seconds.observe(time.monotonic() - started_s)
        return []

    async def _halve(self, work: list[Submission]) -> list[Submission]:
        middle = len(work) // 2
        return [*await self.flush(work[:middle]), *await self.flush(work[middle:])]

    async def _isolate(
        self, work: list[Submission], verdict: Verdict, error: BaseException
    ) -> list[Submission]:
        """Find the submission that the database refuses by halving, and give the others theirs."""
        if len(work) > 1:
            return await self._halve(work)
        (submission,) = work
        detail = f"the database refused it: {str(error)[:200]}"
        if submission.batch is None:
            submission.settle(Outcome.REJECTED, detail)
        elif verdict is Verdict.REJECT:
            return await self.flush([_given_up(submission, "storage", detail, Outcome.REJECTED)])
        else:
            return await self._park(submission, detail, getattr(error, "sqlstate", None))
        return []

    async def _park(
        self, submission: Submission, detail: str, sqlstate: str | None
    ) -> list[Submission]:
        """Keep the bytes of a batch where people can see and replay them."""
        batch = submission.batch
        assert batch is not None  # noqa: S101 - only numbered batches are parked
        waits = backoff.delays(BACKOFF)
        while True:
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                    await connection.execute(
                        PARK,
                        batch.server_id,
                        batch.epoch,
                        batch.seq,
                        submission.raw,
                        sqlstate,
                        detail,
                    )
                break
            except Exception as error:
                self._report(error, Verdict.WAIT, 1)
                if await backoff.pause(next(waits), self._stop):
                    return [submission]
        return await self.flush([_given_up(submission, "parked", detail, Outcome.PARKED)])

    def _report(self, error: BaseException, verdict: Verdict, count: int) -> None:
        """Count a failed flush, and log it when it is news."""
        self._metrics.flush_failures.labels(verdict=verdict.value).inc()
        if self._stalled_since_s is None:
            self._stalled_since_s = time.monotonic()
        problem = f"{type(error).__name__}: {error}"
        if problem != self._last_problem:
            self._last_problem = problem
            log.warning("flush_failed", error=problem, verdict=verdict.value, batches=count)

    def _recovered(self) -> None:
        """Note that flushes work (again)."""
        if self._stalled_since_s is not None:
            log.info("flush_recovered", after_s=round(self.stalled_s, 1))
            self._stalled_since_s, self._last_problem = None, ""


def _given_up(submission: Submission, reason: str, detail: str, outcome: Outcome) -> Submission:
    """Turn a submission into its gap: no rows, and its number taken."""
    batch = submission.batch
    assert batch is not None  # noqa: S101 - only numbered batches leave gaps

    def settle(settled: Outcome, why: str) -> None:
        submission.settle(outcome if settled is Outcome.REJECTED else settled, why or detail)

    return replace(
        submission,
        rows=dict,
        gap=ledger.Gap(
            server_id=batch.server_id,
            epoch=batch.epoch,
            first_seq=batch.seq,
            last_seq=batch.seq,
            from_time=submission.taken,
            to_time=submission.taken,
            reason=reason,
            detail=detail,
        ),
        settle=settle,
    )
