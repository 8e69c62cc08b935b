"""Databases of a TimescaleDB that runs already, for the same tests with several backends."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

TIMEOUT_S = 30.0


class NativeTimescale:
    """A database of its own for each test, on the server of an administrator's DSN.

    The scheduler is stopped in each of them, so that policies run when a test says so, as in the
    WebAssembly build; `SELECT _timescaledb_functions.start_background_workers()` starts it again.
    """

    name = "native"
    several_backends = True
    scheduler = True

    def __init__(self, admin_dsn: str) -> None:
        """Take an administrator's DSN: it must be allowed to create databases and the extension."""
        self._admin_dsn = admin_dsn
        self._run = f"hp_{uuid.uuid4().hex[:8]}"
        self._templates: dict[str, str] = {}
        self._count = 0

    @contextmanager
    def database(
        self, template: str = "empty", prepare: Callable[[str], None] | None = None
    ) -> Generator[str]:
        """Give a database of the caller's own; see `tests.timescale.fixtures.Timescale`."""
        source = self._templates.get(template)
        if template != "empty" and source is None:
            if prepare is None:
                raise ValueError(f"template {template!r} is new: say how to prepare it")
            source = self._create(None)
            prepare(self._dsn(source))
            self._templates[template] = source
        name = self._create(source)
        try:
            yield self._dsn(name)
        finally:
            self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        """Drop the templates."""
        for name in self._templates.values():
            self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._templates.clear()

    def _create(self, source: str | None) -> str:
        """Make a database with the extension and a stopped scheduler; returns its name."""
        self._count += 1
        name = f"{self._run}_{self._count}"
        if source is None:
            self._administer(f"CREATE DATABASE {name}")
            self._in(name, "CREATE EXTENSION IF NOT EXISTS timescaledb")
        else:
            # a template may have no session, not even the scheduler's
            self._administer(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE datname = '{source}'"
            )
            self._administer(f"CREATE DATABASE {name} TEMPLATE {source}")
        self._in(name, "SELECT _timescaledb_functions.stop_background_workers()")
        return name

    def _dsn(self, name: str) -> str:
        """Return the DSN of one database of the server."""
        return urlunsplit(urlsplit(self._admin_dsn)._replace(path=f"/{name}"))

    def _administer(self, sql: str) -> None:
        """Run one statement in the administrator's database."""
        _finish(_execute(self._admin_dsn, sql))

    def _in(self, name: str, sql: str) -> None:
        """Run one statement in one of our databases."""
        _finish(_execute(self._dsn(name), sql))


async def _execute(dsn: str, sql: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    try:
        await connection.execute(sql, timeout=TIMEOUT_S)
    finally:
        await connection.close(timeout=TIMEOUT_S)


def _finish(work: Coroutine[object, object, None]) -> None:
    """Run `work` to its end from synchronous code."""
    asyncio.run(work)
