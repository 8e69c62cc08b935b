"""One transaction of many agents' batches: COPY, ledger, commit; then the verdicts.

COPY comes first and the ledger last, so that a gateway frozen in the middle holds no ledger row.
That servers were heard from is noted after the commit: a claim never waits for one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
import structlog

from collector_gateway import late
from collector_gateway.lanes import Outcome
from storage import catalog, engines, ledger, requests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from collector_gateway.lanes import Submission
    from collector_gateway.metrics import Metrics
    from collector_gateway.services import Rows
    from storage.database import Connection

    Made = tuple[Submission, datetime, Rows]

# Of a backlog: what is fresh waits for it.
WAIT_FOR_NOBODY = "SET LOCAL lock_timeout = '100ms'"
MADE_AT_ONCE = 50  # batches whose rows are made before anything else has its turn: 3 ms

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


class Transactions:
    """Stores submissions, a transaction at a time.

    Args:
        session_of: the fencing token that this gateway holds for a server now.
        metrics: counters of this process.
    """

    def __init__(self, *, session_of: Callable[[int], UUID | None], metrics: Metrics) -> None:
        self._session_of = session_of
        self._metrics = metrics
        self._engine: engines.Engine | None = None  # of the database; it never changes

    async def store(self, connection: Connection, work: list[Submission]) -> list[Submission]:
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
        made = await _make_rows(once)
        try:
            async with connection.transaction():
                if work[0].hour is not None:
                    await connection.execute(WAIT_FOR_NOBODY)
                copied = await _copy(connection, made)
                if self._engine is None:
                    self._engine = await engines.of(connection)
                stored = [(each.server_id, taken, tables) for each, taken, tables in made]
                await late.note(connection, self._engine, stored)
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
        except _Repeat as repeat:
            return self._settle_refused(work, repeat)
        await _touch(connection, once)
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


async def _make_rows(submissions: Sequence[Submission]) -> list[Made]:
    """Make the rows of all submissions that have any; streams are read meanwhile."""
    made: list[Made] = []
    for number, submission in enumerate(submissions, 1):
        rows = submission.rows()
        if rows and submission.taken is not None:
            made.append((submission, submission.taken, rows))
        if number % MADE_AT_ONCE == 0:
            await asyncio.sleep(0)
    return made


async def _copy(connection: Connection, made: Sequence[Made]) -> dict[str, int]:
    """COPY rows, table by table; return how many went into each."""
    merged: dict[str, list[tuple[object, ...]]] = {}
    for _, _, tables in made:
        for table, rows in tables.items():
            merged.setdefault(table, []).extend(rows)
    for table, rows in merged.items():
        await connection.copy_records_to_table(
            table, records=rows, columns=catalog.TABLES[table].columns
        )
    return {table: len(rows) for table, rows in merged.items()}


async def _touch(connection: Connection, submissions: Sequence[Submission]) -> None:
    """Note that servers were heard from; what fails here fails for what is stored already."""
    try:
        await ledger.touch(connection, {s.server_id: s.touch for s in submissions}.values())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        log.warning("servers_not_touched", error=f"{type(error).__name__}: {error}")


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
