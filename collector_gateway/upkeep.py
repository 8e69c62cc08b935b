"""Keeps an eye on the database, and the database in shape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from collector_gateway.services import Readiness
from hostpulse import backoff
from storage import database, engines, maintenance, schema
from storage.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector_gateway.metrics import Metrics
    from storage.database import Pool

WATCH_INTERVAL_S = 2.0
MAINTENANCE_INTERVAL_S = 600.0
RETRY_S = 10.0
ROLLUP_INTERVAL_S = 30.0  # late samples show in rollups within two minutes
# A run ends by itself before that; only a database that says nothing more makes it so long.
RUN_TIMEOUT_S = maintenance.TIMEOUT_S + 30.0
MAINTENANCE_LATE_S = 4 * 3600.0  # partitions are made days ahead: this is early enough to say so
STALLED_S = 10.0

log = structlog.get_logger()


class Upkeep:
    """Watches whether the database answers and fits, and maintains it.

    Args:
        dsn: for connections of its own.
        query_pool: for asking how it is.
        stalled_s: for how long ingest has been failing; makes the process not ready.
        metrics: of this process.
    """

    def __init__(
        self,
        dsn: str,
        *,
        query_pool: Pool,
        stalled_s: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._dsn = dsn
        self._query_pool = query_pool
        self._stalled_s = stalled_s
        self._metrics = metrics
        self._problem: str | None = "the database has not answered yet"
        self._maintenance_age_s: float | None = None
        self._due = asyncio.Event()

    def repair(self) -> None:
        """Ask for maintenance at once."""
        self._due.set()

    async def readiness(self) -> Readiness:
        """Say whether this process can do its work."""
        reasons = [self._problem] if self._problem else []
        if (stalled_s := self._stalled_s()) > STALLED_S:
            reasons.append(f"ingest has been stalled for {stalled_s:.0f} s")
        return Readiness(ready=not reasons, reasons=tuple(reasons))

    async def watch(self, stop: asyncio.Event) -> None:
        """Ask the database how it is until stopped.

        Raises:
            SchemaMismatch: it does not fit this code; the process must end.
        """
        while True:
            try:
                async with (
                    asyncio.timeout(database.CONNECT_TIMEOUT_S),
                    self._query_pool.acquire() as connection,
                ):
                    await schema.check(connection)
                    self._maintenance_age_s = await maintenance.age_s(connection)
            except SchemaMismatch:
                raise
            except Exception as error:
                self._note(f"the database does not answer: {type(error).__name__}: {error}")
            else:
                never = self._maintenance_age_s is None
                self._note("partitions have not been made yet" if never else None)
            self._metrics.maintenance_age_seconds.set(self._maintenance_age_s or 0.0)
            if await backoff.pause(WATCH_INTERVAL_S, stop):
                return

    async def maintain(self, stop: asyncio.Event) -> None:
        """Maintain the database until stopped; one process at a time does it."""
        while True:
            delay_s = MAINTENANCE_INTERVAL_S
            try:
                async with asyncio.timeout(RUN_TIMEOUT_S):
                    connection = await database.connect(
                        self._dsn, "maintenance", statement_timeout_s=maintenance.TIMEOUT_S
                    )
                    try:
                        done = await maintenance.maintain(connection)
                    finally:
                        await connection.close(timeout=database.CONNECT_TIMEOUT_S)
            except Exception as error:
                delay_s = RETRY_S
                log.warning("maintenance_failed", error=f"{type(error).__name__}: {error}")
            else:
                if done is None:
                    delay_s = RETRY_S  # whoever is at it may fail
                elif done:
                    log.info("maintained", steps=len(done), first=done[0], last=done[-1])
            if await self._pause(delay_s, stop):
                return

    async def _pause(self, delay_s: float, stop: asyncio.Event) -> bool:
        """Wait until it is time, or maintenance is asked for; True when it was the stop."""
        await backoff.until_any(delay_s, stop, self._due)
        self._due.clear()
        return stop.is_set()

    async def roll_up(self, stop: asyncio.Event) -> None:
        """Keep rollups up to date until stopped; one process at a time does it."""
        while True:
            try:
                async with asyncio.timeout(RUN_TIMEOUT_S):
                    connection = await database.connect(
                        self._dsn, "rollups", statement_timeout_s=maintenance.TIMEOUT_S
                    )
                    try:
                        await maintenance.roll_up(connection)
                        engine = await engines.of(connection)
                        lag_s = await engine.rollup_lag_s(connection)
                    finally:
                        await connection.close(timeout=database.CONNECT_TIMEOUT_S)
            except Exception as error:
                log.warning("rollups_failed", error=f"{type(error).__name__}: {error}")
            else:
                self._metrics.rollup_lag_seconds.set(lag_s or 0.0)
            if await backoff.pause(ROLLUP_INTERVAL_S, stop):
                return

    def _note(self, problem: str | None) -> None:
        """Keep what is wrong, and log it when it is news."""
        self._metrics.database_up.set(problem is None)
        if problem and not self._problem:
            log.warning("database_lost", problem=problem)
        elif self._problem and not problem:
            log.info("database_found")
        self._problem = problem
