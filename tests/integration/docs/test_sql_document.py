"""What docs/sql.md says of the database is true of a migrated one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage import catalog

if TYPE_CHECKING:
    from storage.database import Connection

DOCUMENT = (Path(__file__).parents[3] / "docs/sql.md").read_text(encoding="utf-8")
QUERIES = dict(
    re.findall(r"^### ([^`\n]+)\n(?:(?!^#).)*?```sql\n(.+?);\n```", DOCUMENT, re.M | re.S)
)
TABLES = {
    name: re.findall(r"^\| `(\w+)` \| ([a-z0-9\[\] ]+) \|", body, re.M)
    for name, body in re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S)
}
COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, NULL) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""
SPELLINGS = {"timestamp with time zone": "timestamptz"}
NOW = datetime.now(UTC).replace(microsecond=0)


async def columns(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in await connection.fetch(COLUMNS):
        kind = str(SPELLINGS.get(row["type"], row["type"]))
        found.setdefault(row["table"], []).append((row["column"], kind))
    return found


async def put(connection: Connection, table: str, *rows: dict[str, object]) -> None:
    """Insert rows; what is not given is NULL."""
    names = list(rows[0])
    await connection.copy_records_to_table(
        table, records=[tuple(row[name] for name in names) for row in rows], columns=names
    )


@pytest.fixture
async def lived_in(connection: Connection) -> Connection:
    """Return a database with two minutes of one server, and one thing of everything else."""
    server_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline) VALUES ('web-server-01', true) RETURNING id"
    )
    for back_s in range(0, 120, 10):
        here = {"time": NOW - timedelta(seconds=back_s), "server_id": server_id}
        await put(
            connection,
            "cpu",
            {**here, "usage_percent": 40.0, "load1": 1.5, "core_usage_percent": [30.0, 50.0]},
        )
        await put(
            connection,
            "disk_usage",
            {
                **here,
                "mount": "/",
                "used_percent": 50.0,
                "used_bytes": 10_000 - back_s,
                "free_bytes": 10_000,
            },
        )
        await put(
            connection,
            "process",
            {**here, "pid": 1, "name": "init", "cpu_percent": 1.0, "cpu_rank": 1},
        )
        await put(connection, "network", {**here, "interface": "eth0", "rx_bytes_per_s": 1e6})
    await connection.execute(
        """
        INSERT INTO ingest_gap (server_id, epoch, seqs, reason)
        VALUES ($1, 1, '{[1,3)}', 'memory_buffer_full')
        """,
        server_id,
    )
    alert_id = await connection.fetchval(
        """
        INSERT INTO alert (rule_id, server_id, state, severity, fired_at)
        SELECT id, $1, 'firing', 'warning', now() FROM alert_rule WHERE name = 'cpu_usage'
        RETURNING id
        """,
        server_id,
    )
    await connection.execute(
        """
        INSERT INTO notification (created_at, alert_id, channel, kind, dedup_key, payload,
                                  next_attempt_at)
        VALUES (now(), $1, 'ops', 'fired', 'key', '{}', now())
        """,
        alert_id,
    )
    return connection


def test_there_are_queries_and_tables_to_check() -> None:
    assert len(QUERIES) == DOCUMENT.count("```sql") >= 8
    assert set(catalog.TABLES) <= set(TABLES)


@pytest.mark.parametrize("title", list(QUERIES))
async def test_an_example_query_returns_rows(title: str, lived_in: Connection) -> None:
    rows = await lived_in.fetch(QUERIES[title])

    assert rows


async def test_documented_tables_have_exactly_these_columns(connection: Connection) -> None:
    there = await columns(connection)

    assert {name: there.get(name) for name in TABLES} == TABLES


async def test_every_table_of_the_database_is_named(connection: Connection) -> None:
    there = await columns(connection)

    assert [name for name in there if f"`{name}`" not in DOCUMENT] == []
