from __future__ import annotations

import uuid
from urllib.parse import quote, urlsplit

import pytest

from storage.database import connect, create_if_missing


@pytest.mark.parametrize("name", ["made_{}", "made of blanks {}"], ids=["plain", "blanks"])
async def test_an_address_whose_host_stands_among_its_parameters_makes_the_database(database, name):
    parts = urlsplit(database)
    named = quote(name.format(uuid.uuid4().hex))
    login = f"{parts.username}:{parts.password}"
    dsn = f"postgresql://{login}@/{named}?host={parts.hostname}&port={parts.port}&sslmode=disable"

    assert [await create_if_missing(dsn) for _ in range(2)] == [True, False]

    connection = await connect(dsn, "test")
    assert await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.close()
