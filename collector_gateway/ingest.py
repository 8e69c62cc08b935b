"""The way into the database: many agents' batches, one transaction, then the acks.

    sessions, HTTP --submit--> queue --flush--> COPY, ledger, commit --settle--> acks

The queue is bounded: `submit` waits for room, its caller stops reading its stream, and HTTP/2 flow
control holds the agent back. Nothing leaves the queue without a verdict, and no verdict but a
fenced stream's is given before the commit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from collector_gateway.lanes import Lanes, Outcome, Submission, hour_of
from hostpulse import backoff, errors
from storage import catalog, engines, ledger, requests
from storage.errors import Verdict, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from uuid import UUID

    from collector_gateway.metrics import Metrics
    from storage.database import Connection, Pool

FLUSH_WAIT_S = 0.05  # for company: one commit serves everybody who comes within it
FLUSH_TIMEOUT_S = 30.0  # client side, above the pool's statement timeout
ACQUIRE_TIMEOUT_S = 5.0
UNKNOWN_ERROR_TRIES = 5  # before a batch is parked
REPAIR_WITHIN_S = 60.0  # of missing partitions, before a batch is parked
HTTP_WAIT_S = 10.0
BACKOFF = backoff.BackoffPolicy(initial_s=0.2, maximum_s=5.0)

PARK = """
INSERT INTO dead_letter (server_id, epoch, seq, batch, sqlstate, error)
VALUES ($1, $2, $3, $4, $5, $6)
"""

log = structlog.get_logger()


class _Repeat(Exception):
    """Some of it is stored already or not ours: roll back and repeat without that."""

    def __init__(
        self,
        verdicts: ledger.Verdicts | None = None,
        repeated: frozenset[tuple[int, str]] = frozenset(),
    ) -> None:
        nothing = frozenset[ledger.BatchId]()
        self.verdicts = verdicts or ledger.Verdicts(accepted=nothing, known=nothing, fenced=nothing)
        self.repeated = repeated


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
        self._pool = pool
        self._session_of = session_of
        self._repair = repair
        self._metrics = metrics
        self._lanes = Lanes()
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._engine: engines.Engine | None = None  # of the database; it never changes
        self._stalled_since_s: float | None = None
        self._last_problem = ""
        metrics.queue_batches.set_function(lambda: len(self._lanes))
        metrics.backlog_batches.set_function(lambda: self._lanes.backlog)

    @property
    def stalled_s(self) -> float:
        """For how long flushes have been failing, in seconds; 0 where they work."""
        since = self._stalled_since_s
        return 0.0 if since is None else time.monotonic() - since

    async def submit(self, submission: Submission) -> None:
        """Queue a submission; waits for room in its lane. It is settled once, by `settle`."""
        await self._lanes.put(submission)
        self._arrived.set()

    async def store(
        self,
        *,
        server_id: int,
        rows: Mapping[str, Sequence[tuple[object, ...]]],
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
                        rows=rows,
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
        while not (self._stop.is_set() and not len(self._lanes)):
            await self._arrived.wait()
            if not len(self._lanes):
                self._arrived.clear()
                continue
            if not self._lanes.is_worth_a_flush:
                await backoff.pause(FLUSH_WAIT_S, self._stop)
            for work in self._lanes.take():
                await self._flush(work)

    async def _flush(self, work: list[Submission]) -> None:
        """Store submissions and settle each; comes back when all have a verdict."""
        tries = 0
        waits = backoff.delays(BACKOFF)
        while work:
            started_s = time.monotonic()
            try:
                async with (
                    asyncio.timeout(FLUSH_TIMEOUT_S),
                    self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection,
                ):
                    work = await self._store(connection, work)
            except Exception as error:
                verdict = classify(error)
                self._report(error, verdict, len(work))
                if verdict is Verdict.REPAIR:
                    self._repair()
                    verdict = Verdict.PARK if self.stalled_s > REPAIR_WITHIN_S else Verdict.WAIT
                elif verdict is Verdict.RETRY:
                    tries += 1
                    verdict = Verdict.PARK if tries >= UNKNOWN_ERROR_TRIES else Verdict.WAIT
                if verdict is not Verdict.WAIT:
                    return await self._isolate(work, verdict, error)
                if await backoff.pause(next(waits), self._stop) and self._stop.is_set():
                    return None  # unsettled: the agents still have it and will send it again
            else:
                self._recovered()
                self._metrics.flush_seconds.observe(time.monotonic() - started_s)
        return None

    async def _store(self, connection: Connection, work: list[Submission]) -> list[Submission]:
        """Try one transaction; return what is still to be stored after the ledger's verdicts."""
        numbered: dict[ledger.BatchId, list[Submission]] = {}
        for submission in work:
            if submission.batch is not None:
                numbered.setdefault(submission.batch, []).append(submission)
        requested: dict[tuple[int, str], Submission] = {}
        for submission in work:
            if submission.request_id is not None:
                requested.setdefault(submission.request_id, submission)
        once = [
            s
            for s in work
            if (s.batch is None or numbered[s.batch][0] is s)
            and (s.request_id is None or requested[s.request_id] is s)
        ]
        try:
            async with connection.transaction():
                copied = await _copy(connection, once)
                await self._note_late(connection, once)
                if requested:
                    await _record_requests(connection, requested.values())
                if numbered:
                    verdicts = await ledger.accept(
                        connection, list(numbered), self._fences(numbered)
                    )
                    if len(verdicts.accepted) < len(numbered):
                        raise _Repeat(verdicts)
                    if gaps := [s.gap for s in once if s.gap is not None]:
                        await ledger.record_gaps(connection, gaps)
                for submission in once:
                    if submission.dropped is not None and submission.session is not None:
                        await ledger.give_up(connection, submission.dropped, submission.session)
                await ledger.touch(connection, {s.server_id: s.touch for s in once}.values())
        except _Repeat as repeat:
            return self._settle_refused(work, repeat)
        self._metrics.count_stored(copied)
        self._metrics.delay_seconds.observe(time.monotonic() - work[0].submitted_s)
        for submission in work:
            if submission.gap is not None:
                submission.settle(Outcome.REJECTED, "")
            elif submission.request_id and requested[submission.request_id] is not submission:
                submission.settle(Outcome.REPEATED, "")
            else:
                submission.settle(Outcome.COMMITTED, "")
        return []

    async def _note_late(self, connection: Connection, submissions: Sequence[Submission]) -> None:
        """Tell the engine of samples that touch rollups it has finished, by database time."""
        if self._engine is None:
            self._engine = await engines.of(connection)
        if self._engine.late_after is None:
            return
        started: datetime = await connection.fetchval("SELECT now()")
        late_before = started - self._engine.late_after
        late = [
            (table, submission.server_id, rows[0][0])  # all rows of a submission have one time
            for submission in submissions
            for table, rows in submission.rows.items()
            if rows and rows[0][0] < late_before
        ]
        await self._engine.note_late(connection, late)

    def _fences(self, numbered: Mapping[ledger.BatchId, Sequence[Submission]]) -> dict[int, UUID]:
        """Return the token for each server: the live stream's, else that of the one that ended."""
        tokens: dict[int, UUID] = {}
        for submissions in numbered.values():
            for submission in submissions:
                token = self._session_of(submission.server_id) or submission.session
                if token is not None:
                    tokens[submission.server_id] = token
        return tokens

    def _settle_refused(self, work: list[Submission], repeat: _Repeat) -> list[Submission]:
        """Settle what was stored before or is not ours, return the rest."""
        rest: list[Submission] = []
        verdicts = repeat.verdicts
        for submission in work:
            if submission.request_id in repeat.repeated:
                submission.settle(Outcome.REPEATED, "")
            elif submission.batch in verdicts.known:
                self._metrics.duplicates.inc()
                submission.settle(Outcome.COMMITTED, "")
            elif submission.batch in verdicts.fenced:
                submission.settle(Outcome.FENCED, "another stream owns this server now")
            else:
                rest.append(submission)
        return rest

    async def _isolate(
        self, work: list[Submission], verdict: Verdict, error: BaseException
    ) -> None:
        """Find the submission that the database refuses by halving, and give the others theirs."""
        if len(work) > 1:
            middle = len(work) // 2
            await self._flush(work[:middle])
            await self._flush(work[middle:])
            return
        (submission,) = work
        detail = f"the database refused it: {str(error)[:200]}"
        if submission.batch is None:
            submission.settle(Outcome.REJECTED, detail)
        elif verdict is Verdict.REJECT:
            await self._flush([_given_up(submission, "storage", detail, Outcome.REJECTED)])
        else:
            await self._park(submission, detail, getattr(error, "sqlstate", None))

    async def _park(self, submission: Submission, detail: str, sqlstate: str | None) -> None:
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
                    return
        await self._flush([_given_up(submission, "parked", detail, Outcome.PARKED)])

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


async def _copy(connection: Connection, submissions: Sequence[Submission]) -> dict[str, int]:
    """COPY the rows of all submissions, table by table; return how many went into each."""
    merged: dict[str, list[tuple[Any, ...]]] = {}
    for submission in submissions:
        for table, rows in submission.rows.items():
            merged.setdefault(table, []).extend(rows)
    for table, rows in merged.items():
        await connection.copy_records_to_table(
            table, records=rows, columns=catalog.TABLES[table].columns
        )
    return {table: len(rows) for table, rows in merged.items()}


async def _record_requests(connection: Connection, submissions: Collection[Submission]) -> None:
    """Write down HTTP requests.

    Raises:
        _Repeat: some are stored already.
    """
    repeated = await requests.record(
        connection, [(s.server_id, s.request) for s in submissions if s.request is not None]
    )
    if repeated:
        raise _Repeat(repeated=repeated)


def _given_up(submission: Submission, reason: str, detail: str, outcome: Outcome) -> Submission:
    """Turn a submission into its gap: no rows, and its number taken."""
    batch = submission.batch
    assert batch is not None  # noqa: S101 - only numbered batches leave gaps
    times = [row[0] for rows in submission.rows.values() for row in rows]

    def settle(settled: Outcome, why: str) -> None:
        submission.settle(outcome if settled is Outcome.REJECTED else settled, why or detail)

    return replace(
        submission,
        rows={},
        gap=ledger.Gap(
            server_id=batch.server_id,
            epoch=batch.epoch,
            first_seq=batch.seq,
            last_seq=batch.seq,
            from_time=min(times, default=None),
            to_time=max(times, default=None),
            reason=reason,
            detail=detail,
        ),
        settle=settle,
    )
