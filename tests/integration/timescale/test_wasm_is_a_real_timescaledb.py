"""What the engine `timescale` relies on is there, in the WebAssembly build or in the one given."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from migrations import run
from storage import catalog
from storage import database as storage_database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from storage.database import Connection
    from tests.timescale.clients import Connect
    from tests.timescale.fixtures import Timescale

START = datetime(2026, 3, 1, tzinfo=UTC)
HYPERTABLE = """
CREATE TABLE reading (
    time timestamptz NOT NULL, server_id integer NOT NULL, value real, cores real[]
) WITH (
    timescaledb.hypertable,
    timescaledb.partition_column = 'time',
    timescaledb.chunk_interval = '4 hours',
    timescaledb.segmentby = 'server_id',
    timescaledb.orderby = 'time DESC'
)
"""
AGGREGATE = """
CREATE MATERIALIZED VIEW reading_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 minute', time) AS time, server_id,
    avg(value) AS value, min(value) AS value_min, max(value) AS value_max, count(*) AS sample_count
FROM reading GROUP BY 1, 2 WITH NO DATA
"""
COLUMNS = ["time", "server_id", "value", "cores"]


def readings(hours: int, servers: int = 2) -> list[tuple[datetime, int, float, list[float | None]]]:
    """Return one reading a minute and server, whose value is the minute's number."""
    return [
        (START + timedelta(minutes=minute), server, float(minute), [float(minute), None])
        for minute in range(hours * 60)
        for server in range(1, servers + 1)
    ]


@pytest.fixture
async def connection(timescale_database: str) -> AsyncGenerator[Connection]:
    opened = await storage_database.connect(timescale_database, "test")
    yield opened
    await opened.close()


@pytest.fixture
async def hypertable(connection: Connection) -> Connection:
    """Return a connection to a database with 12 hours of readings of two servers."""
    await connection.execute(HYPERTABLE)
    await connection.copy_records_to_table("reading", records=readings(12), columns=COLUMNS)
    return connection


async def test_it_is_the_community_edition_in_a_version_we_support(connection: Connection):
    assert await connection.fetchval("SHOW timescaledb.license") == "timescale"
    version = await connection.fetchval(
        "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
    )
    assert tuple(int(part) for part in version.split(".")[:2]) >= (2, 18)


async def test_a_hypertable_has_the_chunks_it_was_told_to_have(hypertable: Connection):
    chunks = await hypertable.fetch(
        "SELECT range_start, range_end FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'reading' ORDER BY range_start"
    )
    assert [(c["range_start"], c["range_end"]) for c in chunks] == [
        (START + timedelta(hours=hour), START + timedelta(hours=hour + 4)) for hour in (0, 4, 8)
    ]


async def test_binary_copy_brings_what_was_sent(hypertable: Connection):
    rows = await hypertable.fetch("SELECT * FROM reading ORDER BY time, server_id")
    assert [tuple(row) for row in rows] == readings(12)


async def test_a_continuous_aggregate_answers_before_and_after_its_refresh(hypertable: Connection):
    await hypertable.execute(AGGREGATE)
    query = (
        "SELECT value, value_min, sample_count FROM reading_1m WHERE server_id = 1 ORDER BY time"
    )
    await hypertable.execute(
        "CALL refresh_continuous_aggregate('reading_1m', $1::timestamptz, $2::timestamptz)",
        START,
        START + timedelta(hours=6),
    )
    assert [tuple(row) for row in await hypertable.fetch(query)] == [
        (minute, minute, 1) for minute in range(720)
    ]
    materialized = await hypertable.fetchval(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
        " FROM timescaledb_information.continuous_aggregates"
    )
    assert await hypertable.fetchval(f"SELECT count(*) FROM {materialized}") == 2 * 360


async def test_late_rows_reach_the_aggregate_at_the_next_refresh(hypertable: Connection):
    await hypertable.execute(AGGREGATE)
    refresh = "CALL refresh_continuous_aggregate('reading_1m', NULL, NULL)"
    await hypertable.execute(refresh)
    late = [(START + timedelta(seconds=30), 1, 100.0, None)]
    await hypertable.copy_records_to_table("reading", records=late, columns=COLUMNS)
    first = "SELECT value_max, sample_count FROM reading_1m WHERE time = $1 AND server_id = 1"

    assert tuple(await hypertable.fetchrow(first, START) or ()) == (0.0, 1)
    await hypertable.execute(refresh)
    assert tuple(await hypertable.fetchrow(first, START) or ()) == (100.0, 2)


async def test_compressed_chunks_hold_the_same_rows_and_take_new_ones(hypertable: Connection):
    compressed = await hypertable.fetch("SELECT compress_chunk(c) FROM show_chunks('reading') c")
    assert len(compressed) == 3
    late = (START + timedelta(seconds=30), 1, 0.5, None)
    await hypertable.copy_records_to_table("reading", records=[late], columns=COLUMNS)

    rows = await hypertable.fetch("SELECT * FROM reading ORDER BY time, server_id")
    assert [tuple(row) for row in rows] == sorted([*readings(12), late], key=lambda row: row[:2])
    assert await hypertable.fetchval(
        "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
    ) == len(compressed)


async def test_a_retention_policy_drops_old_chunks_when_its_job_is_run(hypertable: Connection):
    now = datetime.now(UTC)
    await hypertable.copy_records_to_table(
        "reading", records=[(now, 1, 1.0, None)], columns=COLUMNS
    )
    job = await hypertable.fetchval("SELECT add_retention_policy('reading', INTERVAL '7 days')")
    await hypertable.execute("CALL run_job($1)", job)
    assert [row["time"] for row in await hypertable.fetch("SELECT time FROM reading")] == [now]


async def test_refresh_and_compression_policies_do_their_work_when_run(hypertable: Connection):
    await hypertable.execute(AGGREGATE)
    refresh = await hypertable.fetchval(
        "SELECT add_continuous_aggregate_policy('reading_1m', start_offset => NULL,"
        " end_offset => INTERVAL '1 minute', schedule_interval => INTERVAL '1 minute')"
    )
    compression = await hypertable.fetchval(
        "SELECT job_id FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'reading' AND proc_name = ANY($1)",
        ["policy_compression", "policy_columnstore"],
    )
    if compression is None:  # versions before 2.23 do not add it by themselves
        compression = await hypertable.fetchval(
            "SELECT add_compression_policy('reading', INTERVAL '26 hours')"
        )
    await hypertable.execute("CALL run_job($1)", refresh)
    await hypertable.execute("CALL run_job($1)", compression)
    compressed = await hypertable.fetch(
        "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'reading'"
    )
    assert [row["is_compressed"] for row in compressed] == [True] * 3
    assert await hypertable.fetchval("SELECT count(*) FROM reading_1m") == len(readings(12))


async def test_an_aggregate_of_our_own_works_inside_a_continuous_one(hypertable: Connection):
    await hypertable.execute("""
        CREATE FUNCTION add_cores(real[], real[]) RETURNS real[]
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            AS 'SELECT array_agg(coalesce(a, 0) + coalesce(b, 0)) FROM unnest($1, $2) AS t (a, b)';
        CREATE AGGREGATE sum_cores(real[]) (
            SFUNC = add_cores, STYPE = real[], INITCOND = '{}', PARALLEL = SAFE
        );
        CREATE MATERIALIZED VIEW cores_1h WITH (timescaledb.continuous) AS
            SELECT time_bucket('1 hour', time) AS time, server_id, sum_cores(cores) AS cores
            FROM reading GROUP BY 1, 2 WITH NO DATA
    """)
    await hypertable.execute("CALL refresh_continuous_aggregate('cores_1h', NULL, NULL)")
    assert await hypertable.fetchval(
        "SELECT cores FROM cores_1h WHERE server_id = 1 ORDER BY time LIMIT 1"
    ) == [sum(range(60)), 0.0]


async def test_buckets_without_readings_are_filled_where_asked(hypertable: Connection):
    await hypertable.execute(
        "DELETE FROM reading WHERE time >= $1 AND time < $2",
        START + timedelta(minutes=1),
        START + timedelta(minutes=3),
    )
    rows = await hypertable.fetch(
        "SELECT time_bucket_gapfill('1 minute', time) AS bucket, avg(value) AS value FROM reading"
        " WHERE server_id = 1 AND time >= $1 AND time < $2 GROUP BY 1 ORDER BY 1",
        START,
        START + timedelta(minutes=5),
    )
    assert [row["value"] for row in rows] == [0.0, None, None, 3.0, 4.0]


async def test_prepared_statements_of_two_connections_do_not_meet(
    timescale_database: str, connect: Connect
):
    first, second = [await connect(timescale_database) for _ in range(2)]
    add = await first.prepare("SELECT $1::int + 1")
    double = await second.prepare("SELECT $1::int * 2")
    assert [await add.fetchval(20), await double.fetchval(20), await add.fetchval(5)] == [21, 40, 6]
    assert await double.fetchval(4) == 8


async def test_a_pool_of_three_serves_nine_tasks(timescale_database: str):
    async with storage_database.open_pool(
        timescale_database, "test", max_size=3, statement_timeout_s=10
    ) as pool:
        await pool.execute(HYPERTABLE)

        async def write(server: int) -> str:
            rows = [row for row in readings(1, servers=9) if row[1] == server]
            async with pool.acquire() as connection, connection.transaction():
                await connection.copy_records_to_table("reading", records=rows, columns=COLUMNS)
                return await connection.fetchval("SHOW timezone")

        assert await asyncio.gather(*map(write, range(1, 10))) == ["UTC"] * 9
        assert await pool.fetchval("SELECT count(*) FROM reading") == 9 * 60


async def test_a_second_client_sees_what_the_first_has_committed_and_nothing_else(
    timescale_database: str, connect: Connect
):
    first, second = [await connect(timescale_database) for _ in range(2)]
    await first.execute("CREATE TABLE note (text text)")
    async with first.transaction():
        await first.execute("INSERT INTO note VALUES ('kept')")
    transaction = first.transaction()
    await transaction.start()
    await first.execute("INSERT INTO note VALUES ('taken back')")
    await transaction.rollback()
    async with second.transaction():
        assert [row["text"] for row in await second.fetch("SELECT text FROM note")] == ["kept"]
        await second.execute("UPDATE note SET text = 'changed'")
    assert await first.fetchval("SELECT text FROM note") == "changed"


@pytest.mark.parametrize(
    ("statement", "failure"),
    [
        pytest.param("SELEC 1", asyncpg.PostgresSyntaxError, id="can't be parsed"),
        pytest.param("SELECT * FROM nowhere", asyncpg.UndefinedTableError, id="can't be analysed"),
        pytest.param("SELECT 1 / 0", asyncpg.DivisionByZeroError, id="fails when run"),
    ],
)
@pytest.mark.parametrize("prepared", [False, True], ids=["simple", "prepared"])
async def test_a_failed_statement_is_told_and_the_connection_lives_on(
    connection: Connection, statement: str, failure: type[Exception], *, prepared: bool
):
    execute = connection.fetch if prepared else connection.execute
    with pytest.raises(failure):
        await execute(statement)
    with pytest.raises(failure):
        async with connection.transaction():
            await execute(statement)
    assert await connection.fetchval("SELECT 1") == 1


async def test_a_failed_copy_stores_nothing_and_the_connection_lives_on(hypertable: Connection):
    before = await hypertable.fetchval("SELECT count(*) FROM reading")
    rows = [(START, 1, 1.0, None), (None, 1, 1.0, None)]
    with pytest.raises(asyncpg.NotNullViolationError):
        await hypertable.copy_records_to_table("reading", records=rows, columns=COLUMNS)
    assert await hypertable.fetchval("SELECT count(*) FROM reading") == before


async def test_our_migrations_go_up_down_and_up(
    timescale: Timescale, timescale_database: str, connect: Connect
):
    await asyncio.to_thread(run.upgrade, timescale_database)
    await asyncio.to_thread(run.downgrade, timescale_database, "base")
    await asyncio.to_thread(run.upgrade, timescale_database)
    connection = await connect(timescale_database)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == run.head()


async def test_a_migrated_database_has_our_tables(timescale_migrated: str, connect: Connect):
    connection = await connect(timescale_migrated)
    for table in catalog.TABLES:
        assert await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table), table
