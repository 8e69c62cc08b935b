"""The two ways to keep metric tables, behind one interface.

The engine is chosen once, at the first migration, and recorded in `hostpulse_meta`: a database that
learns more later (the timescaledb extension is trusted, an owner can create it) does not change its
ways under us.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from storage.engines import timescale
from storage.engines.postgres import PostgresEngine
from storage.engines.timescale import TimescaleEngine

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.engine import Connection as MigratingConnection

    from storage.database import Connection
    from storage.engines.rollup import Rollup
    from storage.retention import Retention


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

    def create_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Return the statements that create all tiers of rollups and their public views."""
        ...

    def drop_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Return the statements that drop them again."""
        ...

    def refit_sql(self) -> list[str]:
        """Return what brings a database that was made before migration 0014 up to date."""
        ...

    def index_by_time_sql(self) -> list[str]:
        """Return the statements that index rows by time alone, where that helps."""
        ...

    def drop_index_by_time_sql(self) -> list[str]:
        """Return the statements that drop these indexes again."""
        ...

    async def maintain(self, connection: Connection, now: datetime) -> list[str]:
        """Make room ahead, drop what has expired; return what was done, one line each.

        Safe to repeat and to interrupt. Must not run in a transaction.
        """
        ...

    async def roll_up(self, connection: Connection) -> int:
        """Bring the rollups up to date; return the rows written. Not in a transaction."""
        ...

    async def keep_for(self, connection: Connection, retention: Retention) -> None:
        """Take a new retention over; in the transaction that writes it down."""
        ...

    @property
    def late_after(self) -> timedelta | None:
        """The age, in database time, from which samples must be noted; None where none must."""
        ...

    async def note_late(
        self, connection: Connection, samples: list[tuple[str, int, datetime]]
    ) -> None:
        """Note (table, server id, time) of late samples; in the transaction that stores them."""
        ...

    async def rebuild_rollups(self, connection: Connection) -> None:
        """Make rollups of all raw samples that are there; after a move. Not in a transaction."""
        ...

    async def rollup_lag_s(self, connection: Connection) -> float | None:
        """Return by how many seconds the slowest rollup is behind; None where there is none."""
        ...


ENGINES: dict[str, Engine] = {"postgres": PostgresEngine(), "timescale": TimescaleEngine()}

CREATABLE = """
SELECT true FROM pg_available_extensions
WHERE name = 'timescaledb'
  AND current_setting('shared_preload_libraries') ~ '(^|,)\\s*timescaledb\\s*(,|$)'
"""
INSTALLED = """
SELECT extversion, current_setting('timescaledb.license', true)
FROM pg_extension WHERE extname = 'timescaledb'
"""


def _detect(connection: MigratingConnection) -> str:
    """Return `timescale` where TimescaleDB Community is there, and recent enough.

    The extension is created where it is only available: an owner may, it is trusted.
    """
    found = connection.exec_driver_sql(INSTALLED).one_or_none()
    if found is None and connection.exec_driver_sql(CREATABLE).scalar():
        connection.exec_driver_sql("CREATE EXTENSION timescaledb")
        found = connection.exec_driver_sql(INSTALLED).one()
    if found is None:
        return "postgres"
    version, licence = found
    fits = licence == "timescale" and timescale.is_recent(version)
    return "timescale" if fits else "postgres"


def record(connection: MigratingConnection) -> None:
    """Choose the engine for a new database and write it down."""
    for key, value in (("engine", _detect(connection)), ("min_gateway_schema", 1)):
        connection.exec_driver_sql(
            "INSERT INTO hostpulse_meta (key, value) VALUES ($1, $2::jsonb)",
            (key, json.dumps(value)),
        )


def by_name(name: str) -> Engine:
    """Return the engine of this name.

    Raises:
        UnknownEngine: this version does not know it.
    """
    if name not in ENGINES:
        raise UnknownEngine(f"expected engine {' or '.join(ENGINES)}, the database has {name!r}")
    return ENGINES[name]


async def of(connection: Connection) -> Engine:
    """Return the engine that a database was made with."""
    name = await connection.fetchval(
        "SELECT value #>> '{}' FROM hostpulse_meta WHERE key = 'engine'"
    )
    return by_name(name)


def recorded(connection: MigratingConnection) -> Engine:
    """Return the engine that this database was made with, for migrations."""
    name = connection.exec_driver_sql(
        "SELECT value #>> '{}' FROM hostpulse_meta WHERE key = 'engine'"
    ).scalar_one()
    return by_name(name)
