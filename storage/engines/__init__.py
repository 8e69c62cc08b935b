"""The two ways to keep metric tables, behind one interface.

The engine is chosen once, at the first migration, and recorded in `hostpulse_meta`: a database that
learns more later (the timescaledb extension is trusted, an owner can create it) does not change its
ways under us.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import text

from storage.engines.postgres import PostgresEngine

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection as MigratingConnection

    from storage.database import Connection


class UnknownEngine(RuntimeError):
    """The database was made by an engine that this version does not know."""


class Engine(Protocol):
    """How metric tables are laid out and kept in shape."""

    @property
    def name(self) -> str:
        """What `hostpulse_meta` records."""
        ...

    def create_table_sql(self, name: str, columns: str) -> list[str]:
        """Return the statements that create raw table `name`; `columns` is DDL of its own."""
        ...

    async def maintain(self, connection: Connection, now: datetime) -> list[str]:
        """Make room ahead, drop what has expired; return what was done, one line each.

        Safe to repeat and to interrupt. Must not run in a transaction.
        """
        ...


ENGINES: dict[str, Engine] = {"postgres": PostgresEngine()}


def record(connection: MigratingConnection) -> None:
    """Choose the engine for a new database and write it down."""
    for key, value in (("engine", "postgres"), ("min_gateway_schema", 1)):
        connection.execute(
            text("INSERT INTO hostpulse_meta (key, value) VALUES (:key, CAST(:value AS jsonb))"),
            {"key": key, "value": json.dumps(value)},
        )


def by_name(name: str) -> Engine:
    """Return the engine of this name.

    Raises:
        UnknownEngine: this version does not know it.
    """
    if name not in ENGINES:
        raise UnknownEngine(f"expected engine {' or '.join(ENGINES)}, the database has {name!r}")
    return ENGINES[name]


def recorded(connection: MigratingConnection) -> Engine:
    """Return the engine that this database was made with, for migrations."""
    name = connection.execute(
        text("SELECT value #>> '{}' FROM hostpulse_meta WHERE key = 'engine'")
    ).scalar_one()
    return by_name(name)
