"""Pushes config over open streams within a second of its change, and writes down the answers.

    a change ─ NOTIFY ─▶ look up what the streams here were not told ─▶ AgentConfig
    ConfigResult ─▶ written with those that came meanwhile

A notification can be lost with its connection, so everything is looked up again now and then, and
whenever there is a new connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

import structlog

from collector_gateway import config_messages
from collector_gateway.greeting import INTERVAL_S
from hostpulse import backoff
from hostpulse.v1 import telemetry_pb2 as pb
from storage import database, server_configs

if TYPE_CHECKING:
    from collector_gateway.session import Session
    from collector_gateway.sessions import Sessions
    from storage.database import Connection

CHECK_INTERVAL_S = 10.0  # for notifications that were lost
STATEMENT_S = 10.0
RECONNECT = backoff.BackoffPolicy(initial_s=0.2, maximum_s=10.0)
DETAIL_MAX = 500  # characters of an agent's sentence that are kept
REVISION_MAX = (1 << 63) - 1

log = structlog.get_logger()


class ConfigPush:
    """Keeps the agents of this gateway's streams on what they are to run.

    Args:
        dsn: for a connection of its own, which listens.
        sessions: the streams of this gateway.
    """

    def __init__(self, dsn: str, *, sessions: Sessions) -> None:
        self._dsn = dsn
        self._sessions = sessions
        self._wake = asyncio.Event()
        self._everything = True  # is to be looked up, not only what is new here
        self._opened: set[int] = set()
        self._results: dict[int, server_configs.Result] = {}
        self._problem: str | None = None
        self._delays = backoff.delays(RECONNECT)

    def opened(self, session: Session) -> None:
        """Look up what a new stream is to be told: it may have changed since the claim."""
        self._opened.add(session.server_id)
        self._wake.set()

    def answered(self, session: Session, result: pb.ConfigResult) -> None:
        """Take an agent's verdict; of two that wait to be written the newer one counts."""
        if result.status not in (pb.CONFIG_STATUS_APPLIED, pb.CONFIG_STATUS_REJECTED):
            return
        if result.revision > REVISION_MAX:
            return
        lowest, highest = INTERVAL_S
        intervals_s = {
            family: interval_s
            for family, interval_s in config_messages.intervals_of(result.intervals).items()
            if math.isfinite(interval_s) and lowest <= interval_s <= highest
        }
        applied = result.status == pb.CONFIG_STATUS_APPLIED
        detail = result.detail.replace("\0", "")[:DETAIL_MAX]
        if not applied:
            log.warning(
                "config_rejected",
                server=session.server_name,
                revision=result.revision,
                detail=detail,
            )
        self._results[session.server_id] = server_configs.Result(
            server_id=session.server_id,
            session=session.token,
            revision=result.revision,
            applied=applied,
            detail=detail,
            intervals_s=intervals_s,
        )
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Push and write until stopped; a database that is away is waited for."""
        while not stop.is_set():
            try:
                connection = await database.connect(
                    self._dsn, "config", statement_timeout_s=STATEMENT_S
                )
                try:
                    await self._listen(connection, stop)
                finally:
                    with contextlib.suppress(Exception):
                        await connection.close(timeout=1.0)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                if problem != self._problem:
                    log.warning("config_push_interrupted", error=problem)
                self._problem = problem
            await backoff.pause(next(self._delays), stop)

    async def _listen(self, connection: Connection, stop: asyncio.Event) -> None:
        """Work on one connection until it breaks or the process stops."""
        await connection.add_listener(server_configs.CHANNEL, self._notified)
        connection.add_termination_listener(self._notified)
        self._everything = True
        while not stop.is_set() and not connection.is_closed():
            self._wake.clear()
            await self._work(connection)
            self._problem, self._delays = None, backoff.delays(RECONNECT)
            await backoff.until_any(CHECK_INTERVAL_S, stop, self._wake)
            if not self._wake.is_set():
                self._everything = True

    def _notified(self, *_: object) -> None:
        self._everything = True
        self._wake.set()

    async def _work(self, connection: Connection) -> None:
        """Tell agents what they were not told, and write down what they answered."""
        everything, opened = self._everything, self._opened
        self._everything, self._opened = False, set[int]()
        try:
            await self._tell(connection, None if everything else opened)
            if results := self._results:
                self._results = {}
                try:
                    await server_configs.record(connection, list(results.values()))
                except Exception:
                    self._results = results | self._results
                    raise
        except Exception:
            self._everything = True
            raise

    async def _tell(self, connection: Connection, opened: set[int] | None) -> None:
        """Push to the streams of these servers, or to all."""
        sessions = {
            each.server_id: each
            for each in self._sessions.live()
            if opened is None or each.server_id in opened
        }
        if not sessions:
            return
        if missing := await server_configs.missing(connection, list(sessions)):
            await server_configs.settle(connection, missing)
        able = {number: each.config_revision for number, each in sessions.items() if each.is_able}
        for number, wanted in (await server_configs.changed(connection, able)).items():
            sessions[number].configure(config_messages.to_message(wanted))
