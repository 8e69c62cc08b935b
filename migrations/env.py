"""Run migrations: one at a time, in the order of their numbers, under one lock.

Alembic executes this file; `migrations.run` prepares its configuration. Several processes may try
at once: a session-level advisory lock lets one work while the others wait, then find nothing to do.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from alembic import context
from sqlalchemy import pool, text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

ADVISORY_LOCK = 7_240_001  # any number, the same in every process that migrates
WAIT_FOR_OTHERS = "120s"
LOCK_TIMEOUT = "10s"  # a migration that can't have its lock fails instead of queueing all ingest
STATEMENT_TIMEOUT = "600s"


def _run(connection: Connection) -> None:
    """Take the lock, migrate, give the lock back."""
    connection.execute(text(f"SET lock_timeout = '{WAIT_FOR_OTHERS}'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()  # the lock is the session's and outlives this transaction
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def _main() -> None:
    """Connect by the DSN that `migrations.run` put into the configuration."""
    dsn: str = context.config.attributes["dsn"]
    # asyncpg reads the DSN itself: SQLAlchemy's reading of it knows neither sslmode nor sockets.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(dsn, timeout=10, command_timeout=900),
        poolclass=pool.NullPool,
    )
    async with engine.connect() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


asyncio.run(_main())
