from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage.database import connect as open_connection

if TYPE_CHECKING:
    import asyncpg


@pytest.fixture
async def others(database):
    """Return what opens more connections; they are cut at the end."""
    opened: list[asyncpg.Connection] = []

    async def another(**options):
        connection = await open_connection(database, "test", **options)
        opened.append(connection)
        return connection

    yield another
    for connection in opened:
        connection.terminate()
