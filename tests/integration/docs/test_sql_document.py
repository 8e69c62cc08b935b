"""What docs/sql.md says of the database is true of a migrated one, and its queries run."""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from migrations import run
from storage import catalog, engines, reader
from storage.database import connect as open_connection
from tests.postgres import COPYING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from storage.database import Connection

DOCUMENT = (Path(__file__).parents[3] / "docs/sql.md").read_text(encoding="utf-8")


def queries(section: str) -> dict[str, str]:
    """Return the queries of one section by their titles."""
    body = DOCUMENT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^### ([^`\n]+)\n(?:(?!^#).)*?```sql\n(.+?);\n```", body, re.M | re.S))


FOR_READERS = queries("Queries")
FOR_OWNERS = queries("Queries for the owner")
TABLES = {
    name: re.findall(r"^\| `(\w+)` \| ([a-z0-9\[\] ]+) \|", body, re.M)
    for name, body in re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S)
}
COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, NULL) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
  AND a.attnum > 0 AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname, a.attnum
"""
SPELLINGS = {"timestamp with time zone": "timestamptz"}
DAY = timedelta(days=1)
GB = 1_000_000_000
FREE_LAST = 40 * GB


async def columns(connection: Connection) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in await connection.fetch(COLUMNS):
        kind = str(SPELLINGS.get(row["type"], row["type"]))
        found.setdefault(row["table"], []).append((row["column"], kind))
    return found


async def put(connection: Connection, table: str, rows: list[dict[str, object]]) -> None:
    """Store rows; what is not given is NULL."""
    schema, _, name = table.rpartition(".")
    names = list(rows[0])
    await connection.copy_records_to_table(
        name,
        schema_name=schema or None,
        records=[tuple(row[name] for name in names) for row in rows],
        columns=names,
    )


async def seed(connection: Connection) -> None:
    """Live for 30 days: the last minutes as samples, what was before as imported hours.

    CPU was at 20 % last week and is at 40 % this week; memory takes 100 MiB more each day; the
    filesystem takes 1 GB more each day and has FREE_LAST bytes left. Another server does nothing.
    """
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    this_hour = now.replace(minute=0)
    server_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline, cpu_cores_logical, memory_total_bytes)"
        " VALUES ('web-server-01', true, 8, 17179869184) RETURNING id"
    )
    samples: dict[str, list[dict[str, object]]] = {}
    for back_s in range(0, 240, 10):
        here = {"time": now - timedelta(seconds=back_s), "server_id": server_id}
        for table, values in {
            "cpu": {"usage_percent": 40.0, "load1": 1.5, "core_usage_percent": [30.0, 50.0]},
            "memory": {"used_bytes": 8 << 30, "used_percent": 90.0, "available_bytes": GB},
            "disk_usage": {
                "mount": "/",
                "used_bytes": 60 * GB,
                "free_bytes": FREE_LAST,
                "used_percent": 60.0,
            },
            "disk_io": {"device": "sda", "await_ms": 5.0, "reads_per_s": 1.0, "writes_per_s": 1.0},
            "network": {
                "interface": "eth0",
                "rx_bytes_per_s": 1e6,
                "tx_bytes_per_s": 2e6,
                "packet_loss_percent": 0.5,
            },
            "process": {
                "pid": 1,
                "name": "init",
                "username": "root",
                "cpu_percent": 1.0,
                "memory_rss_bytes": 1 << 20,
                "cpu_rank": 1,
            },
        }.items():
            samples.setdefault(table, []).append(here | values)
    engine = await engines.of(connection)
    async with connection.transaction():
        for table, rows in samples.items():
            await put(connection, table, rows)
        late = {(table, server_id, row["time"]) for table in samples for row in samples[table]}
        await engine.note_late(connection, sorted(late))
    await engine.roll_up(connection)
    idle_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline) VALUES ('idle-server-02', true) RETURNING id"
    )
    hours: dict[str, list[dict[str, object]]] = {}
    for back_h in range(6, 30 * 24):
        time = this_hour - timedelta(hours=back_h)
        here = {"time": time, "server_id": server_id, "sample_count": 360}
        usage = 40.0 if time >= now - 7 * DAY else 20.0
        used = int(back_h / 24 * GB)
        grown = (8 << 30) - back_h * (100 << 20) / 24
        for table, values in {
            "cpu": {"usage_percent": usage, "usage_percent_max": usage + 20},
            "memory": {"used_bytes": grown, "used_percent": 40.0, "used_percent_max": 45.0},
            "disk_usage": {
                "mount": "/data",
                "used_bytes": float(60 * GB - used),
                "free_bytes": float(FREE_LAST + used - GB // 4),
            },
        }.items():
            hours.setdefault(table, []).append(here | values)
        idle = {
            "cpu": {"usage_percent": 5.0, "usage_percent_max": 10.0},
            "memory": {"used_bytes": None, "used_percent": 10.0, "used_percent_max": 11.0},
        }
        for table, values in idle.items():
            hours[table].append(here | values | {"server_id": idle_id})
    for table, rows in hours.items():
        await put(connection, f"hostpulse_internal.{table}_1h_archive", rows)
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
        INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change,
                                   from_state, to_state, firing_number)
        VALUES (now(), $1, 'cpu_usage', $2, '{}', 'fired', 'pending', 'firing', 1)
        """,
        alert_id,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LivedIn:
    """A database to ask.

    Args:
        owner: DSN of its owner.
        reader: how readers log in.
        logs_in: whether they can; the WebAssembly build knows one user only.
    """

    owner: str
    reader: reader.Login
    logs_in: bool

    @asynccontextmanager
    async def as_reader(self) -> AsyncGenerator[asyncpg.Connection]:
        """Connect as the role that may only read."""
        connection = await asyncpg.connect(
            self.reader.dsn(self.owner) if self.logs_in else self.owner, timeout=10
        )
        try:
            if not self.logs_in:
                await connection.execute(f'SET ROLE "{self.reader.role}"')
            yield connection
        finally:
            if not self.logs_in:
                await connection.execute("RESET ROLE")
            await connection.close(timeout=10)


@pytest.fixture(scope="module", params=["postgres", "timescale"])
def lived_in(request: pytest.FixtureRequest) -> Generator[LivedIn]:
    """Give a database of each engine with a month in it."""
    if request.param == "postgres":
        given, logs_in = copied(request.getfixturevalue("template")), True
    else:
        timescale = request.getfixturevalue("timescale")
        given = timescale.database("migrated", run.upgrade)
        logs_in = timescale.several_backends
    with given as owner:

        async def prepare() -> reader.Login:
            connection = await open_connection(owner, "test")
            await seed(connection)
            login = await reader.ensure(connection)
            await connection.close()
            return login

        yield LivedIn(owner=owner, reader=asyncio.run(prepare()), logs_in=logs_in)


@contextmanager
def copied(template: str) -> Generator[str]:
    """Give a copy of the template, for a module."""
    base, _, source = template.rpartition("/")
    name = f"test_{uuid.uuid4().hex[:12]}"

    async def administer(sql: str) -> None:
        connection = await asyncpg.connect(f"{base}/postgres")
        await connection.execute(sql)
        await connection.close()

    asyncio.run(administer(f"CREATE DATABASE {name} TEMPLATE {source} {COPYING}"))
    yield f"{base}/{name}"
    asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


def test_there_are_queries_and_tables_to_check() -> None:
    assert len(FOR_READERS) == 20
    assert len(FOR_READERS) + len(FOR_OWNERS) == DOCUMENT.count("```sql")
    assert set(catalog.TABLES) <= set(TABLES)


@pytest.mark.parametrize("title", list(FOR_READERS))
async def test_a_reader_gets_rows_from(title: str, lived_in: LivedIn) -> None:
    async with lived_in.as_reader() as connection:
        assert await connection.fetch(FOR_READERS[title])


@pytest.mark.parametrize("title", list(FOR_OWNERS))
async def test_the_owner_alone_gets_rows_from(title: str, lived_in: LivedIn) -> None:
    connection = await open_connection(lived_in.owner, "test")
    assert await connection.fetch(FOR_OWNERS[title])
    await connection.close()
    async with lived_in.as_reader() as stranger:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.fetch(FOR_OWNERS[title])


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The last value of every server", {"usage_percent": 40.0, "load1": 1.5}),
        ("The busiest servers of the last hour", {"usage_percent": 40.0, "highest": 40.0}),
        ("Each core", {"core": 0, "usage_percent": 30.0}),
        ("Traffic of the fleet in Mbit/s", {"rx_mbps": 8.0, "tx_mbps": 16.0}),
        ("Servers that are larger than they need to be", {"name": "idle-server-02"}),
        ("The 95th percentile of 30 days", {"cpu_p95": 40.0, "memory_p95": 40.0}),
        ("Days until filesystems are full", {"mount": "/data", "gb_per_day": 1.0}),
        ("Days until filesystems are full", {"days_until_full": 40.0}),
        ("This week against last week", {"this_week": 40.0, "last_week": 20.0, "change": 20.0}),
        ("Memory that grows and grows", {"mib_per_day": 100.0}),
        ("What is wrong now", {"rule": "cpu_usage", "server": "web-server-01"}),
        ("What went wrong most often", {"rule": "cpu_usage", "times": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
async def test_a_query_answers_what_its_title_says(
    title: str, expected: dict[str, object], lived_in: LivedIn
) -> None:
    async with lived_in.as_reader() as connection:
        row = (await connection.fetch(FOR_READERS[title]))[0]

    for name, value in expected.items():
        found = float(row[name]) if isinstance(value, float) else row[name]
        assert found == (pytest.approx(value, rel=0.01) if isinstance(value, float) else value)


async def test_documented_tables_have_exactly_these_columns(lived_in: LivedIn) -> None:
    connection = await open_connection(lived_in.owner, "test")
    there = await columns(connection)
    await connection.close()

    assert {name: there.get(name) for name in TABLES} == TABLES
    assert [name for name in there if f"`{name}`" not in DOCUMENT] == []


async def test_rollups_have_the_columns_that_the_document_gives_them(lived_in: LivedIn) -> None:
    connection = await open_connection(lived_in.owner, "test")
    there = await columns(connection)
    await connection.close()

    for table in catalog.TABLES.values():
        for tier in ("1m", "1h"):
            names = {name for name, _ in there[f"{table.name}_{tier}"]}
            left_out = {"cpu_rank", "memory_rank", "unspooled_batches"}
            for value in (v.name for v in table.values if v.name not in left_out):
                assert {value, f"{value}_min", f"{value}_max"} <= names
            assert {"time", "server_id", "sample_count"} <= names
