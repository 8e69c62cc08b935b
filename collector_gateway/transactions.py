"""One transaction of many agents' batches: COPY, ledger, commit; then the verdicts.

COPY comes first and the ledger last, so that a gateway frozen in the middle holds no ledger row.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from collector_gateway.lanes import Outcome
from storage import catalog, engines, ledger, requests

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from collector_gateway.lanes import Submission
    from collector_gateway.metrics import Metrics
    from storage.database import Connection


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
