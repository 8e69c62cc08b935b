"""Clients of a test's database that are gone when the test is over."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    Connection = asyncpg.Connection[asyncpg.Record]


class Connect(Protocol):
    """Connects a client, with asyncpg's own options."""

    async def __call__(self, dsn: str, **options: Any) -> Connection:
        """Return the connection, which nobody needs to close."""
        ...


@pytest.fixture
async def connect() -> AsyncGenerator[Connect]:
    """Return what opens connections; at the end they are cut, whatever state they are in."""
    async with AsyncExitStack() as opened:

        async def open_one(dsn: str, **options: Any) -> Connection:
            connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30, **options)
            opened.callback(connection.terminate)
            return connection

        yield open_one
