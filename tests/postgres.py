"""A real PostgreSQL for the whole run, and a freshly migrated database for each test that asks."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from cli.children import die_with_parent
from migrations import run
from storage import database as storage_database
from storage import engines
from storage.embedded import EmbeddedPostgres
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 2**30  # two workers use a quarter of it
PREFIX = "hostpulse-test-"
OWNER = "pid"  # of the process whose data it is
COPYING = "STRATEGY file_copy"  # file by file, nothing through the log: half the time


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


def in_memory() -> Path | None:
    """Return a folder in memory if there is one with room; None leaves it to the system.

    A copy of the template is a thousand files: 0.02 s in memory, 0.2 to 0.8 s on a disk.
    """
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    room_bytes = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    is_fit = os.access(MEMORY, os.W_OK) and not found.f_flag & os.ST_NOEXEC
    return MEMORY if is_fit and room_bytes >= ROOM_BYTES else None


def remove_abandoned(folder: Path) -> None:
    """Remove the data of runs that were killed, which would keep their memory for ever."""
    for owner in folder.glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError):  # another worker removes it, too
            if not Path("/proc", owner.read_text()).exists():
                shutil.rmtree(owner.parent)


@pytest.fixture(scope="session")
def data_root() -> Generator[Path]:
    """Return a directory that PostgreSQL's account can reach (pytest's own is 0700)."""
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=in_memory()))
    root.chmod(0o711)
    (root / OWNER).write_text(str(os.getpid()))
    remove_abandoned(root.parent)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(data_root: Path) -> Generator[EmbeddedPostgres]:
    """Run the embedded PostgreSQL for the session; durability is not what these tests look at."""
    server = EmbeddedPostgres(
        data_root / "session",
        port=free_port(),
        settings={
            "fsync": "off",
            "max_connections": "100",
            "max_wal_size": "256MB",  # it lies in memory
            "logging_collector": "off",
        },
    )
    server.prepare()
    with (data_root / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            server.command(),
            stderr=log,
            start_new_session=True,  # Ctrl-C is pytest's
            preexec_fn=die_with_parent(signal.SIGINT),
            **server.process_options(),
        )
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
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse {COPYING}")
    yield f"{base}/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def connection(database: str) -> AsyncGenerator[storage_database.Connection]:
    """Return one connection to the test's database."""
    opened = await storage_database.connect(database, "test")
    yield opened
    await opened.close()
