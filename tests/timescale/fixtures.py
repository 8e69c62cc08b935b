"""A real TimescaleDB Community for tests: WebAssembly everywhere, or a native one that is given.

`HOSTPULSE_TEST_DATABASE_URL` names an administrator's database on a native server; without it the
tests start the WebAssembly build. Neither is ever skipped: what is missing is a failure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest

from migrations import run
from tests.timescale import installation
from tests.timescale.native import NativeTimescale
from tests.timescale.wasm import WasmTimescale

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

TEST_DATABASE_URL = "HOSTPULSE_TEST_DATABASE_URL"


class Timescale(Protocol):
    """Where tests get databases with TimescaleDB from, and what to expect there."""

    @property
    def name(self) -> str:
        """`wasm` or `native`."""
        ...

    @property
    def several_backends(self) -> bool:
        """Whether transactions run at the same time, locks exclude and timeouts fire."""
        ...

    @property
    def scheduler(self) -> bool:
        """Whether policies can run by themselves."""
        ...

    def database(
        self, template: str = "empty", prepare: Callable[[str], None] | None = None
    ) -> AbstractContextManager[str]:
        """Give the DSN of a database of the caller's own, dropped at the end.

        Blocks; must not be called from a running event loop.

        Args:
            template: what it holds: `empty` (the extension and nothing else) or a name of your own.
            prepare: fills the database it gets, the first time `template` is asked for in a
                session; later databases are copies of that one, made in half a second.

        Raises:
            RuntimeError: another database is in use and the engine has only one.
        """
        ...

    def close(self) -> None:
        """Give back everything."""
        ...


@pytest.fixture(scope="session")
def timescale_wasm() -> Generator[WasmTimescale]:
    """Run the WebAssembly build for the session, whatever other database is given."""
    server = WasmTimescale(installation.modules())
    yield server
    server.close()


@pytest.fixture(scope="session")
def timescale(request: pytest.FixtureRequest) -> Generator[Timescale]:
    """Return the TimescaleDB that the tests run on: a native one if given, else WebAssembly."""
    admin_dsn = os.environ.get(TEST_DATABASE_URL)
    if admin_dsn is None:
        yield request.getfixturevalue("timescale_wasm")
        return
    native = NativeTimescale(admin_dsn)
    yield native
    native.close()


@pytest.fixture
def timescale_database(timescale: Timescale) -> Generator[str]:
    """Return the DSN of an empty database of the test's own, with the extension."""
    with timescale.database() as dsn:
        yield dsn


@pytest.fixture
def timescale_migrated(timescale: Timescale) -> Generator[str]:
    """Return the DSN of a migrated database of the test's own."""
    with timescale.database("migrated", run.upgrade) as dsn:
        yield dsn
