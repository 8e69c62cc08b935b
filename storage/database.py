"""Connections: one pool for each kind of work, so that none can starve another.

Every wait has a bound, and every session tells PostgreSQL its own: a client that is frozen in the
middle of a transaction loses it after five seconds.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]

CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 5.0
SESSION_SETTINGS = {
    "timezone": "UTC",
    "jit": "off",
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "5s",
}


JSONB_VERSION = b"\x01"  # the first byte of jsonb's binary form


def _encode_jsonb(value: object) -> bytes:
    """Write jsonb's binary form: COPY takes no other."""
    return JSONB_VERSION + json.dumps(value).encode()


def _decode_jsonb(data: bytes) -> Any:
    """Read jsonb's binary form."""
    return json.loads(data[len(JSONB_VERSION) :])


async def _teach_json(connection: Any) -> None:
    """Let json and jsonb columns come and go as Python values."""
    await connection.set_type_codec(
        "jsonb", encoder=_encode_jsonb, decoder=_decode_jsonb, schema="pg_catalog", format="binary"
    )
    await connection.set_type_codec(
        "json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


def _settings(purpose: str, *, statement_timeout_s: float, lock_timeout_s: float) -> dict[str, str]:
    """Return the session's settings for one kind of work."""
    return SESSION_SETTINGS | {
        "application_name": f"hostpulse {purpose}",
        "statement_timeout": f"{int(statement_timeout_s * 1000)}ms",
        "lock_timeout": f"{int(lock_timeout_s * 1000)}ms",
    }


@asynccontextmanager
async def open_pool(
    dsn: str,
    purpose: str,
    *,
    max_size: int,
    statement_timeout_s: float,
    lock_timeout_s: float = 5.0,
) -> AsyncGenerator[Pool]:
    """Open a pool that connects when first used, so that a database may come later.

    Args:
        dsn: of the database.
        purpose: shown as `application_name`.
        max_size: connections at most.
        statement_timeout_s: after which PostgreSQL cancels a statement; the client waits 2 s more.
        lock_timeout_s: after which PostgreSQL gives up waiting for a lock.
    """
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=statement_timeout_s + 2.0,
        max_inactive_connection_lifetime=300.0,
        server_settings=_settings(
            purpose, statement_timeout_s=statement_timeout_s, lock_timeout_s=lock_timeout_s
        ),
        init=_teach_json,
    )
    async with pool:
        yield pool


async def connect(
    dsn: str, purpose: str, *, statement_timeout_s: float = 30.0, lock_timeout_s: float = 5.0
) -> Connection:
    """Open one connection, for a command or a task of its own; the caller closes it."""
    connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=statement_timeout_s + 2.0,
        server_settings=_settings(
            purpose, statement_timeout_s=statement_timeout_s, lock_timeout_s=lock_timeout_s
        ),
    )
    await _teach_json(connection)
    return connection


async def create_if_missing(dsn: str) -> bool:
    """Create the database that `dsn` names through `postgres` on the same server.

    Returns whether it was created.
    """
    name = unquote(urlsplit(dsn).path.removeprefix("/"))
    try:
        # asyncpg reads the rest of the DSN itself: host and TLS may stand among its parameters.
        admin = await asyncpg.connect(dsn, database="postgres", timeout=CONNECT_TIMEOUT_S)
    except asyncpg.PostgresError:
        # We may not be let in there, and need not be where our own database exists.
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
        await connection.close(timeout=CONNECT_TIMEOUT_S)
        return False
    try:
        if await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            return False
        quoted = name.replace('"', '""')
        await admin.execute(f'CREATE DATABASE "{quoted}"')
    finally:
        await admin.close(timeout=CONNECT_TIMEOUT_S)
    return True
