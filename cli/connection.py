"""How commands reach the database."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from hostpulse import errors
from storage import database, location, schema
from storage.errors import DatabaseUnavailable, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def database_url() -> str:
    """Return the DSN: HOSTPULSE_DATABASE_URL, else that of the embedded database.

    Raises:
        ConfigError: neither is there.
    """
    if configured := os.environ.get("HOSTPULSE_DATABASE_URL"):
        return configured
    file = location.data_dir() / "database.url"
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise errors.ConfigError(
            "HOSTPULSE_DATABASE_URL",
            expectation=f"set, or {file} be there and readable (`hostpulse up` writes it)",
            value=None,
        ) from error


async def with_connection(work: Callable[[database.Connection], Awaitable[T]]) -> T:
    """Run `work` with a connection of its own.

    Raises:
        ConfigError: no database is named.
        DatabaseUnavailable: it can't be reached.
        SchemaMismatch: it is not migrated.
    """
    dsn = database_url()
    try:
        connection = await database.connect(dsn, "command")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        where = dsn.rpartition("@")[2]
        raise DatabaseUnavailable(f"the database at {where} can't be reached: {error}") from error
    try:
        return await work(connection)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        await schema.check(connection)  # most likely it is not migrated, and this says so
        raise SchemaMismatch(
            f"the database is not as this hostpulse expects it: {error}"
        ) from error
    finally:
        await connection.close(timeout=database.CONNECT_TIMEOUT_S)


def actor() -> str:
    """Return who is at the command line, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name
        return "cli"
