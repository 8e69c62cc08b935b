from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from migrations import run
from storage import catalog, database

MIGRATIONS = Path(__file__).parents[3] / "migrations/versions"


async def test_tables_have_exactly_the_columns_of_the_catalog(connection):
    for table in catalog.TABLES.values():
        rows = await connection.fetch(
            """
            SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
            WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum
            """,
            table.name,
        )
        expected = [("time", "timestamp with time zone"), ("server_id", "integer")]
        expected += [(c.name, c.sql_type) for c in (*table.labels, *table.values)]
        assert [(row["attname"], row["type"]) for row in rows] == expected


def test_migrations_go_up_down_and_up_again(postgres):
    dsn = f"{postgres.url.rpartition('/')[0]}/up_down_up"
    asyncio.run(database.create_if_missing(dsn))

    run.upgrade(dsn)
    run.downgrade(dsn, "base")

    async def tables() -> list[str]:
        connection = await database.connect(dsn, "test")
        rows = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind IN ('r', 'p', 'v') AND nspname IN ('public', 'hostpulse_internal')"
        )
        await connection.close()
        return [row["relname"] for row in rows]

    assert asyncio.run(tables()) == ["alembic_version"]
    run.upgrade(dsn)
    assert "cpu" in asyncio.run(tables())


def test_two_processes_may_migrate_at_once(postgres):
    dsn = f"{postgres.url.rpartition('/')[0]}/migrated_twice"
    asyncio.run(database.create_if_missing(dsn))

    command = [
        sys.executable,
        "-c",
        "import sys; from migrations import run; run.upgrade(sys.argv[1])",
    ]
    both = [subprocess.Popen([*command, dsn]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]


def test_migration_files_are_one_numbered_line():
    names = sorted(path.name for path in MIGRATIONS.glob("[0-9]*.py"))

    assert all(re.fullmatch(r"\d{4}_[a-z]+(_[a-z]+)+\.py", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert run.head() == names[-1][:4]
