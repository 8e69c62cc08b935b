"""The worker: a cycle every few seconds, whatever becomes of the database meanwhile."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from typing import TYPE_CHECKING

import asyncpg
import structlog

from alerting import cycle, work
from hostpulse import backoff
from storage import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from storage.database import Pool

CYCLE_MAX_S = 60.0
POLL_MAX_S = 0.5
ACQUIRE_MAX_S = 5.0
PATIENCE_INTERVALS = 3.0
RETRY = backoff.BackoffPolicy(initial_s=0.5, maximum_s=10.0)
log = structlog.stdlib.get_logger(__name__)


async def through_outages(
    name: str,
    run: Callable[[], Coroutine[object, object, None]],
    stop: asyncio.Event,
    *,
    retry: backoff.BackoffPolicy = RETRY,
    pause: backoff.Pause = backoff.pause,
) -> None:
    """Call `run` until it returns; again, with backoff, when the database is away.

    An outage is said once. Any other error is raised.
    """
    delays = backoff.delays(retry)
    said: str | None = None
    while not stop.is_set():
        started = time.monotonic()
        try:
            await run()
        except Exception as error:
            if not _may_pass(error):
                raise
            if time.monotonic() - started > retry.maximum_s:
                delays, said = backoff.delays(retry), None  # it had worked for a while
            if (kind := type(error).__name__) != said:
                log.warning("database_lost", task=name, error=f"{kind}: {error}"[:300])
                said = kind
            await pause(next(delays), stop)
        else:
            return


def _may_pass(error: Exception) -> bool:
    """Whether it is the database that is away, not us that are wrong.

    asyncpg answers with an InternalClientError when a session was ended while it was idle and the
    next statement meets the server's farewell.
    """
    is_farewell = isinstance(error, asyncpg.InternalClientError)
    return is_farewell or errors.classify(error) is errors.Verdict.WAIT


class Worker:
    """Does the work that is due, one piece after the other; any number of workers share it.

    Each piece is due again an interval after it was begun.

    Args:
        pool: of the evaluation alone.
        interval_s: between the starts of two cycles.
        stop: set once; the cycle in progress is then finished.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        interval_s: float,
        stop: asyncio.Event,
        monotonic: Callable[[], float] = time.monotonic,
        pause: backoff.Pause = backoff.pause,
    ) -> None:
        self._pool = pool
        self._interval_s = interval_s
        self._patience_s = max(cycle.PATIENCE_S, PATIENCE_INTERVALS * interval_s)
        self._stop = stop
        self._monotonic = monotonic
        self._pause = pause
        self._poll_s = min(POLL_MAX_S, interval_s / 10)
        self._id = uuid.uuid4()
        self._prepare_at = -math.inf
        self._invalid: Mapping[str, str] = {}

    async def run(self) -> None:
        """Do what is due until stopped.

        Raises:
            OSError, PostgresError and so on: the database is away; call again later.
        """
        while not self._stop.is_set():
            if await self.run_once() is None:
                await self._pause(self._poll_s, self._stop)

    async def run_once(self) -> cycle.Report | None:
        """Do one piece of work; None when none is due, or another worker took it over."""
        started = self._monotonic()
        async with (
            asyncio.timeout(CYCLE_MAX_S),
            self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection,
        ):
            if started >= self._prepare_at:
                await work.prepare(connection)
                self._prepare_at = started + self._interval_s
            taken = await work.take(connection, self._id, interval_s=self._interval_s)
            if taken is None:
                return None
            try:
                report = await cycle.run(connection, patience_s=self._patience_s, work=taken)
            except work.LeaseLost:
                log.warning("lease_lost", work=taken.key)
                return None
        if report is None:
            return None
        self._tell_invalid(report.invalid)
        took_s = self._monotonic() - started
        log.debug(
            "cycle_finished", work=taken.key, took_s=round(took_s, 3), findings=report.findings
        )
        if took_s > self._interval_s:
            log.warning(
                "cycle_was_slow",
                work=taken.key,
                took_s=round(took_s, 3),
                interval_s=self._interval_s,
            )
        return report

    def _tell_invalid(self, invalid: Mapping[str, str]) -> None:
        """Say once which rules can't be read, and again when that changes."""
        for name, reason in invalid.items():
            if self._invalid.get(name) != reason:
                log.warning("rule_ignored", rule=name, reason=reason)
        self._invalid = invalid
