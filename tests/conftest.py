"""A real PostgreSQL for the whole run, and a freshly migrated database for each test that asks."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from migrations import run
from storage import database as storage_database
from storage import engines
from storage.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytest_plugins = ["tests.timescale.fixtures", "tests.timescale.clients"]

HERE = Path(__file__).parent
TEST_DATABASE_URL = "HOSTPULSE_TEST_DATABASE_URL"  # a TimescaleDB to test on
for name in [n for n in os.environ if n.startswith("HOSTPULSE_") and n != TEST_DATABASE_URL]:
    del os.environ[name]  # a developer's settings must not reach the tests


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one worker what would disturb each other, or costs much to have twice."""
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))


def group_of(item: pytest.Item) -> str | None:
    """Return whose company a test needs; None: it runs wherever there is room."""
    if item.path.is_relative_to(HERE / "e2e"):
        return "e2e"  # whole systems, with promises about time: one at a time
    parameters = getattr(item, "callspec", None)
    asked = [*getattr(item, "fixturenames", ()), *(parameters.params.values() if parameters else ())]
    if any(str(name).startswith("timescale") for name in asked):
        return "timescale"  # half a gigabyte of WebAssembly: once
    return None


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_postgres(dsn: str, timeout_s: float = 30.0) -> None:
    """Return once the server answers."""

    async def ask() -> None:
        connection = await asyncpg.connect(f"{dsn.rpartition('/')[0]}/postgres", timeout=5)
        await connection.close()

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return asyncio.run(ask())
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="session")
def data_root() -> Generator[Path]:
    """Return a directory that PostgreSQL's account can reach (pytest's own is 0700)."""
    root = Path(tempfile.mkdtemp(prefix="hostpulse-test-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(data_root: Path) -> Generator[EmbeddedPostgres]:
    """Run the embedded PostgreSQL for the session; durability is not what these tests look at."""
    server = EmbeddedPostgres(
        data_root / "session",
        port=free_port(),
        settings={"fsync": "off", "max_connections": "100", "logging_collector": "off"},
    )
    server.prepare()
    with (data_root / "postgres.log").open("wb") as log:
        process = subprocess.Popen(server.command(), stderr=log, **server.process_options())
    try:
        wait_for_postgres(server.url)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """Migrate one database, to be copied for each test."""
    dsn = f"{postgres.url.rpartition('/')[0]}/template_hostpulse"

    async def prepare() -> None:
        connection = await storage_database.connect(dsn, "test")
        await engines.by_name("postgres").maintain(connection, datetime.now(UTC))
        await connection.close()

    asyncio.run(storage_database.create_if_missing(dsn))
    run.upgrade(dsn)
    asyncio.run(prepare())
    return dsn


@pytest.fixture
async def database(template: str) -> AsyncGenerator[str]:
    """Return the DSN of a database of the test's own, migrated, with partitions."""
    base = template.rpartition("/")[0]
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(f"{base}/postgres")
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse")
    yield f"{base}/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def connection(database: str) -> AsyncGenerator[storage_database.Connection]:
    """Return one connection to the test's database."""
    opened = await storage_database.connect(database, "test")
    yield opened
    await opened.close()
