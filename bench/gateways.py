"""Gateway processes of a benchmark's own, before a database that is thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from bench.databases import free_port
from storage import database, keys, maintenance

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

READY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateways:
    """What a load needs to know: where to send, with which key, and whom to watch."""

    addresses: list[str]
    key: str
    pages: list[str]
    processes: list[psutil.Process]
    postgres: psutil.Process

    def metrics(self) -> list[dict[str, float]]:
        """Return what each gateway counted, by the name of the sample; those with labels not."""
        answers: list[dict[str, float]] = []
        for page in self.pages:
            request = urllib.request.Request(f"{page}/metrics", headers={"X-API-Key": self.key})
            with urllib.request.urlopen(request, timeout=5) as answer:
                lines = [line.split(" ") for line in answer.read().decode().splitlines()]
            answers.append({line[0]: float(line[1]) for line in lines if len(line) == 2})
        return answers


@dataclass(frozen=True, slots=True)
class Watched:
    """A gateway and its database, whose CPU is counted."""

    gateway: psutil.Process
    database: psutil.Process

    def cpu_s(self) -> tuple[float, float]:
        """Return the CPU seconds that each has used."""
        return cpu_s(self.gateway), cpu_s(self.database)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds that a process and its children have used."""
    used_s = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker of the database may have ended
            times = each.cpu_times()
            used_s += times.user + times.system
    return used_s


@contextmanager
def running(dsn: str, settings: Sequence[Mapping[str, str]] = ({},)) -> Generator[Gateways]:
    """Run gateways before a migrated database of this machine until the block ends.

    Args:
        dsn: of the database.
        settings: variables of each gateway, besides its addresses.
    """
    key, postgres = asyncio.run(_prepare(dsn))
    addresses: list[str] = []
    pages: list[str] = []
    started: list[subprocess.Popen[bytes]] = []
    try:
        for variables in settings:
            address, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            environment = os.environ | {
                "HOSTPULSE_DATABASE_URL": dsn,
                "HOSTPULSE_GRPC_LISTEN": address,
                "HOSTPULSE_HTTP_LISTEN": http,
                "HOSTPULSE_LOG_LEVEL": "warning",
                **variables,
            }
            command = [sys.executable, "-m", "cli", "gateway"]
            started.append(subprocess.Popen(command, env=environment))
            _wait_for(f"http://{http}/readyz")
            addresses.append(address)
            pages.append(f"http://{http}")
        yield Gateways(
            addresses=addresses,
            pages=pages,
            key=key,
            processes=[psutil.Process(gateway.pid) for gateway in started],
            postgres=postgres,
        )
    finally:
        for gateway in started:
            gateway.send_signal(signal.SIGTERM)
        for gateway in started:
            gateway.wait(timeout=15)


async def _prepare(dsn: str) -> tuple[str, psutil.Process]:
    """Make partitions and a key; return the key and the database's first process."""
    connection = await database.connect(dsn, "bench", statement_timeout_s=60)
    await maintenance.maintain(connection)
    key = await keys.create(
        connection, role=keys.Role.ADMIN, server_names=[], note=None, created_by="bench"
    )
    backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    postgres = backend.parent()
    assert postgres is not None
    await connection.close()
    return key, postgres


def _wait_for(url: str) -> None:
    """Wait until a gateway says that it is ready."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
