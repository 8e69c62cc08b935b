"""Whether a database and this code fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from storage.errors import SchemaMismatch

if TYPE_CHECKING:
    from storage.database import Connection

SCHEMA = 18  # the number of the newest migration that this code needs

FIND = """
SELECT
  (SELECT max(version_num) FROM alembic_version) AS version,
  (SELECT (value #>> '{}')::int FROM hostpulse_meta WHERE key = 'min_gateway_schema') AS minimum
"""


async def check(connection: Connection) -> None:
    """Return where the database has all migrations that this code needs.

    Raises:
        SchemaMismatch: migrations are missing, or the database asks for a newer hostpulse.
    """
    try:
        row = await connection.fetchrow(FIND)
    except asyncpg.UndefinedTableError:
        row = None
    if row is None or row["version"] is None:
        raise SchemaMismatch("the database has no hostpulse tables yet: run `hostpulse migrate`")
    if row["minimum"] is not None and row["minimum"] > SCHEMA:
        raise SchemaMismatch(
            f"the database asks for schema {row['minimum']} or newer and this hostpulse knows "
            f"{SCHEMA}: install the newer version with `pip install --upgrade 'hostpulse[server]'`"
        )
    if int(row["version"]) < SCHEMA:
        raise SchemaMismatch(
            f"the database has schema {int(row['version'])} and this hostpulse needs {SCHEMA}: "
            "run `hostpulse migrate`"
        )
