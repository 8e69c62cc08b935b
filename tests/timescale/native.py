"""Databases of a TimescaleDB that runs already, for the same tests with several backends."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

TIMEOUT_S = 30.0
STOP_SCHEDULER = "SELECT _timescaledb_functions.stop_background_workers()"
FIRST_JOB = 1000  # those before are TimescaleDB's own
PAUSE_JOBS = f"""
SELECT (alter_job(job_id, scheduled => false)).job_id FROM timescaledb_information.jobs
WHERE scheduled AND job_id >= {FIRST_JOB}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """A closed database to make copies of."""

    name: str
    jobs: tuple[int, ...]  # to be scheduled again in a copy


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
        self._templates: dict[str, _Template] = {}
        self._count = 0

    @contextmanager
    def database(
        self, template: str = "empty", prepare: Callable[[str], None] | None = None
    ) -> Generator[str]:
        """Give a database of the caller's own; see `tests.timescale.fixtures.Timescale`."""
        if template != "empty" and template not in self._templates:
            if prepare is None:
                raise ValueError(f"template {template!r} is new: say how to prepare it")
            self._templates[template] = self._prepared(prepare)
        name = self._new_name()
        try:
            if template == "empty":
                self._create(name)
            else:
                self._copy(self._templates[template], name)
            yield self._dsn(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop the templates."""
        for template in self._templates.values():
            self._drop(template.name)
        self._templates.clear()

    def _create(self, name: str) -> None:
        """Make a database with the extension and a stopped scheduler."""
        self._administer(f"CREATE DATABASE {name}")
        self._in(name, "CREATE EXTENSION IF NOT EXISTS timescaledb")
        self._in(name, STOP_SCHEDULER)

    def _prepared(self, prepare: Callable[[str], None]) -> _Template:
        """Make a database to be copied; it is closed, because a source may have no session."""
        name = self._new_name()
        try:
            self._create(name)
            prepare(self._dsn(name))
            # The scheduler wakes in every copy: its jobs must wait until it has been stopped there.
            jobs = tuple(self._in(name, PAUSE_JOBS))
            self._administer(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
            self._administer(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE datname = '{name}'"
            )
        except BaseException:
            self._drop(name)
            raise
        return _Template(name=name, jobs=jobs)

    def _copy(self, template: _Template, name: str) -> None:
        """Make a copy of a template, with a stopped scheduler."""
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template.name}")
        self._in(name, STOP_SCHEDULER)
        for job in template.jobs:
            self._in(name, f"SELECT alter_job({job}, scheduled => true)")

    def _drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _new_name(self) -> str:
        """Return a name that no other run uses either."""
        self._count += 1
        return f"{self._run}_{self._count}"

    def _dsn(self, name: str) -> str:
        """Return the DSN of one database of the server."""
        return urlunsplit(urlsplit(self._admin_dsn)._replace(path=f"/{name}"))

    def _administer(self, sql: str) -> list[Any]:
        """Run one statement in the administrator's database; returns its first column."""
        return asyncio.run(_fetch(self._admin_dsn, sql))

    def _in(self, name: str, sql: str) -> list[Any]:
        """Run one statement in one of our databases; returns its first column."""
        return asyncio.run(_fetch(self._dsn(name), sql))


async def _fetch(dsn: str, sql: str) -> list[Any]:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
    try:
        return [row[0] for row in await connection.fetch(sql, timeout=TIMEOUT_S)]
    finally:
        await connection.close(timeout=TIMEOUT_S)
