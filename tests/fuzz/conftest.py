"""A gateway process of the module's own, for everything that is thrown at it."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from typing import TYPE_CHECKING

import asyncpg
import psutil
import pytest

from storage import database, keys
from tests.e2e.fleet import Gateway
from tests.e2e.processes import Ground
from tests.fuzz.known import Known, seed

if TYPE_CHECKING:
    from collections.abc import Generator


class Target:
    """A running gateway, with an admin's key, and what there is on it to be named."""

    def __init__(self, gateway: Gateway, dsn: str, key: str, rows: Known) -> None:
        self.rows = rows
        self.gateway = gateway
        self.dsn = dsn
        self.key = key
        self.process = psutil.Process(gateway.process.popen.pid)

    @property
    def rss_bytes(self) -> int:
        return self.process.memory_info().rss

    @property
    def log(self) -> str:
        return self.gateway.process.output.read_text(errors="replace")


@pytest.fixture
def target(template: str) -> Generator[Target]:
    """Run a gateway that takes whatever pace; it must still be the same process at the end."""
    base, name = template.rpartition("/")[0], f"fuzz_{uuid.uuid4().hex[:8]}"
    dsn = f"{base}/{name}"

    async def prepare() -> tuple[str, Known]:
        admin = await asyncpg.connect(f"{base}/postgres")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse")
        await admin.close()
        connection = await database.connect(dsn, "fuzz")
        key = await keys.create(connection, role=keys.Role.ADMIN, created_by="fuzz")
        rows = await seed(connection)
        await connection.close()
        return key, rows

    async def drop() -> None:
        admin = await asyncpg.connect(f"{base}/postgres")
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

    key, rows = asyncio.run(prepare())
    ground = Ground()
    try:
        gateway = Gateway(ground, dsn, "gateway")
        gateway.start(
            HOSTPULSE_HTTP_REQUESTS_PER_S="100000", HOSTPULSE_SERVER_BYTES_PER_S="1000000000"
        )
        gateway.wait_until(200)
        yield Target(gateway, dsn, key, rows)
        assert gateway.is_alive, "the gateway has died"
        started = time.monotonic()
        assert gateway.end(signal.SIGTERM) == 0
        assert time.monotonic() - started < 10
    finally:
        left = ground.close()
        asyncio.run(drop())
    assert not left
