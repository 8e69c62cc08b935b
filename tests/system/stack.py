"""A real gateway on a database of its own, for a browser."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import asyncpg
from cryptography.fernet import Fernet

from storage import database, keys
from tests.e2e.processes import free_port, say, until
from tests.e2e.system import get

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from storage.database import Connection
    from tests.e2e.processes import Ground, Running

T = TypeVar("T")
Work: TypeAlias = "Callable[[Connection], Awaitable[object]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where the gateway answers, and with which key."""

    url: str
    dsn: str
    grpc_address: str
    admin_key: str
    gateway: Running

    def run(self, work: Work) -> object:
        """Do something in the database."""
        return _apart(lambda: _with(self.dsn, work))


@contextmanager
def going_on(stack: Stack, work: Work, *, every_s: float) -> Generator[Stack]:
    """Do something again and again, in a thread, for as long as the stack is looked at."""
    over = threading.Event()

    async def repeat(connection: Connection) -> None:
        while not over.is_set():
            await work(connection)
            await asyncio.to_thread(over.wait, every_s)

    thread = threading.Thread(target=lambda: asyncio.run(_with(stack.dsn, repeat)), daemon=True)
    thread.start()
    yield stack
    over.set()
    thread.join()


def start(
    ground: Ground,
    template: str,
    name: str,
    fill: Work | None = None,
) -> Stack:
    """Copy the template, fill the copy, start a gateway on it."""
    base = template.rpartition("/")[0]
    dsn = f"{base}/{name}"

    async def prepare() -> str:
        admin = await asyncpg.connect(f"{base}/postgres")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_hostpulse")
        await admin.close()
        return await _with(dsn, _fill)

    async def _fill(connection: Connection) -> str:
        if fill:
            await fill(connection)
        return await keys.create(connection, role=keys.Role.ADMIN, note="tests", created_by="test")

    admin_key = _apart(prepare)
    port, grpc_address = free_port(), f"127.0.0.1:{free_port()}"
    gateway = ground.start(
        f"gateway-{name}",
        [sys.executable, "-m", "cli", "gateway"],
        ground.environment(
            HOSTPULSE_DATABASE_URL=dsn,
            HOSTPULSE_DATA_DIR=ground.folder / name,
            HOSTPULSE_GRPC_LISTEN=grpc_address,
            HOSTPULSE_HTTP_LISTEN=f"127.0.0.1:{port}",
            HOSTPULSE_SECRET_KEY=Fernet.generate_key().decode(),
        ),
    )
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert gateway.popen.poll() is None, gateway.log
        return get(f"{url}/readyz")[0] == 200

    try:
        until(is_ready, within_s=60, what="a gateway that is ready")
    except AssertionError:
        say(gateway.log)
        raise
    return Stack(url=url, dsn=dsn, grpc_address=grpc_address, admin_key=admin_key, gateway=gateway)


def _apart(work: Callable[[], Awaitable[T]]) -> T:
    """Run in a thread of its own: Playwright's event loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


async def _with(dsn: str, work: Callable[[Connection], Awaitable[str]]) -> str:
    connection = await database.connect(dsn, "test", statement_timeout_s=60)
    try:
        return await work(connection)
    finally:
        await connection.close()
