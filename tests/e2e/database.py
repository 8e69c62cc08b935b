"""A PostgreSQL of a test's own, which can go and come."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from storage import database as storage_database
from storage.embedded import EmbeddedPostgres
from tests.e2e.processes import free_port, until

if TYPE_CHECKING:
    import signal

    from tests.e2e.processes import Ground, Running


class Database:
    """A PostgreSQL of the test's own, which can go and come."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.server = EmbeddedPostgres(
            ground.folder / "database", port=free_port(), settings={"logging_collector": "off"}
        )
        self.server.prepare()
        self.process: Running | None = None

    @property
    def dsn(self) -> str:
        return self.server.url

    def start(self) -> None:
        options = self.server.process_options()
        environment = options.pop("env")
        assert isinstance(environment, dict)
        self.process = self._ground.start("postgres", self.server.command(), environment, **options)
        until(self._answers, within_s=30, what="PostgreSQL")

    def migrate(self) -> None:
        """Bring it up to date, as an operator does."""
        migrated = self._ground.start(
            "migrate",
            [sys.executable, "-m", "cli", "migrate"],
            self._ground.environment(HOSTPULSE_DATABASE_URL=self.dsn),
        )
        assert migrated.popen.wait(timeout=30) == 0, migrated.log

    def stop(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.end(number, within_s=20)

    def _answers(self) -> bool:
        try:
            asyncio.run(storage_database.create_if_missing(self.dsn))
        except Exception:
            return False
        return True
