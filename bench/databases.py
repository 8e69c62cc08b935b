"""A database of a benchmark's own, thrown away afterwards."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from migrations import run
from storage import database
from storage.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Generator

READY_WITHIN_S = 30.0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def embedded() -> Generator[str]:
    """Run the embedded PostgreSQL as it is shipped; yield the DSN of a migrated database."""
    root = Path(tempfile.mkdtemp(prefix="hostpulse-bench-"))
    root.chmod(0o711)  # its account must pass through
    server = EmbeddedPostgres(root / "data", port=free_port())
    server.prepare()
    process = subprocess.Popen(server.command(), **server.process_options())
    try:
        wait_for(server.url)
        run.upgrade(server.url)
        yield server.url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def named(dsn: str | None) -> Generator[str]:
    """Yield a migrated database: the empty one that `dsn` names, else an embedded one."""
    if dsn is None:
        with embedded() as made:
            yield made
        return
    wait_for(dsn)
    run.upgrade(dsn)
    yield dsn


def wait_for(dsn: str) -> None:
    """Create the database as soon as its server answers."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            asyncio.run(database.create_if_missing(dsn))
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
