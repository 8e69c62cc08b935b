from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from migrations import run
from storage import catalog, engines, lateness
from storage.database import connect as open_connection
from storage.engines import timescale as engine_module
from storage.engines.rollup import TIERS

from .test_rollups_are_equal import load

pytestmark = pytest.mark.timeout(180)
RELATIONS = [
    *catalog.TABLES,
    *(
        f"hostpulse_internal.{table}_{tier.name}_rollup"
        for table in catalog.TABLES
        for tier in TIERS
    ),
]


@pytest.fixture
async def timescale_connection(timescale_migrated):
    opened = await open_connection(timescale_migrated, "test", statement_timeout_s=120)
    yield opened
    await opened.close()


def cpu_row(age: timedelta, value: float) -> tuple:
    row = dict.fromkeys(catalog.CPU.columns)
    row |= {"time": datetime.now(UTC) - age, "server_id": 1, "usage_percent": value}
    return tuple(row.values())


async def run_jobs(connection, procedure: str, relation: str) -> None:
    """Run the policies of one kind on one table or continuous aggregate, as the scheduler would."""
    jobs = await connection.fetch(
        """
        SELECT job_id FROM timescaledb_information.jobs j
        LEFT JOIN timescaledb_information.continuous_aggregates c
          ON c.materialization_hypertable_name = j.hypertable_name
        WHERE proc_name = $1 AND coalesce(c.view_name, j.hypertable_name) = $2
        """,
        procedure,
        relation,
    )
    assert len(jobs) == 1, (procedure, relation, jobs)
    await connection.execute(f"CALL run_job({jobs[0]['job_id']})")


async def test_every_table_and_tier_has_its_policies_and_all_of_them_run(timescale_connection):
    jobs = await timescale_connection.fetch(
        "SELECT job_id, proc_name, schedule_interval, initial_start"
        " FROM timescaledb_information.jobs WHERE job_id >= 1000"
    )

    kinds = [job["proc_name"] for job in jobs]
    assert kinds.count("policy_retention") == len(RELATIONS)
    assert kinds.count("policy_compression") == len(RELATIONS)
    assert kinds.count("policy_refresh_continuous_aggregate") == 2 * len(catalog.TABLES)
    assert len({job["initial_start"] for job in jobs}) == len(jobs)  # staggered
    for job in jobs:
        await timescale_connection.execute(f"CALL run_job({job['job_id']})")


async def test_no_chunk_interval_is_left_to_defaults(timescale_connection):
    rows = await timescale_connection.fetch(
        """
        SELECT coalesce(c.view_name, d.hypertable_name) AS name, d.time_interval
        FROM timescaledb_information.dimensions d
        LEFT JOIN timescaledb_information.continuous_aggregates c
          ON c.materialization_hypertable_name = d.hypertable_name
        """
    )

    intervals = {row["name"]: row["time_interval"] for row in rows}
    for table in catalog.TABLES:
        assert intervals[table] == engine_module.RAW_CHUNK
        for tier in TIERS:
            assert intervals[f"{table}_{tier.name}_rollup"] == tier.chunk


def test_the_lateness_chain_holds():
    assert (
        lateness.SPOOL_MAX_AGE
        <= lateness.ACCEPT_LATE
        < lateness.REFRESH_FROM
        < lateness.RAW_RETENTION - engine_module.RAW_CHUNK
    )
    assert min(engine_module.COMPRESS_AFTER.values()) > lateness.REFRESH_FROM


async def test_the_newest_bucket_is_answered_at_once_and_late_data_after_one_refresh(
    timescale_connection,
):
    connection = timescale_connection
    await load(connection, {"cpu": [cpu_row(timedelta(0), 10)]})
    assert await connection.fetchval("SELECT usage_percent FROM cpu_1m") == 10

    await load(connection, {"cpu": [cpu_row(timedelta(hours=30), 20)]})
    await run_jobs(connection, "policy_refresh_continuous_aggregate", "cpu_1m_rollup")
    await load(connection, {"cpu": [cpu_row(timedelta(hours=30), 40)]})
    await run_jobs(connection, "policy_refresh_continuous_aggregate", "cpu_1m_rollup")

    found = await connection.fetchval(
        "SELECT sum(usage_percent * sample_count) / sum(sample_count) FROM cpu_1m"
        " WHERE time < now() - interval '1 day'"
    )
    assert found == 30


async def test_samples_go_into_compressed_chunks_and_come_out_again(timescale_connection):
    connection = timescale_connection
    age = timedelta(hours=40)
    await load(connection, {"cpu": [cpu_row(age, 1) for _ in range(100)]})
    await run_jobs(connection, "policy_compression", "cpu")
    assert await connection.fetchval(
        "SELECT count(*) FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'cpu' AND is_compressed"
    )

    await load(connection, {"cpu": [cpu_row(age, 3) for _ in range(100)]})
    await run_jobs(connection, "policy_compression", "cpu")

    row = await connection.fetchrow("SELECT count(*) AS n, avg(usage_percent) AS mean FROM cpu")
    assert tuple(row) == (200, 2.0)


async def test_retention_drops_raw_samples_and_keeps_their_rollups(timescale_connection):
    connection = timescale_connection
    await load(connection, {"cpu": [cpu_row(timedelta(days=6), 5)]})
    await run_jobs(connection, "policy_refresh_continuous_aggregate", "cpu_1h_rollup")
    await connection.execute(  # two days go by: the chunk is eight days old now
        "SELECT alter_job(job_id, config => jsonb_set(config, '{drop_after}', '\"5 days\"'))"
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_retention' AND hypertable_name = 'cpu'"
    )
    await run_jobs(connection, "policy_retention", "cpu")

    assert await connection.fetchval("SELECT count(*) FROM cpu") == 0
    assert await connection.fetchval("SELECT count(*) FROM cpu_1h") == 1


async def test_rollups_that_were_never_refreshed_are_late_since_their_policies_should_have_begun(
    timescale_connection,
):
    engine = await engines.of(timescale_connection)
    lag_s = await engine.rollup_lag_s(timescale_connection)
    await timescale_connection.execute(
        "SELECT alter_job(job_id, initial_start => now() - INTERVAL '1 hour')"
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_refresh_continuous_aggregate'"
    )

    assert lag_s is not None
    assert lag_s < 3600
    assert await engine.rollup_lag_s(timescale_connection) >= 3600


async def test_the_engine_leaves_upkeep_to_timescaledb(timescale_connection):
    engine = await engines.of(timescale_connection)

    assert await engine.maintain(timescale_connection, datetime.now(UTC)) == []
    assert await engine.roll_up(timescale_connection) == 0


async def test_a_column_comes_and_goes_without_a_row_of_a_compressed_chunk(
    timescale_migrated, timescale_connection
):
    old = datetime.now(UTC) - timedelta(days=3)
    await timescale_connection.execute(
        "INSERT INTO agent_health (time, server_id, spool_batches, unspooled_batches)"
        " SELECT $1::timestamptz + n * interval '10 s', 1, n, 2 FROM generate_series(1, 60) AS n",
        old,
    )
    await timescale_connection.execute(
        "SELECT compress_chunk(c) FROM show_chunks('agent_health') c"
    )
    count = "SELECT count(*), sum(spool_batches) FROM agent_health"
    before = tuple(await timescale_connection.fetchrow(count))

    await asyncio.to_thread(run.downgrade, timescale_migrated, "0009")
    without = tuple(await timescale_connection.fetchrow(count))
    await asyncio.to_thread(run.upgrade, timescale_migrated)
    after = tuple(await timescale_connection.fetchrow(count))
    await timescale_connection.execute(
        "INSERT INTO agent_health (time, server_id, unspooled_batches) VALUES ($1, 1, 7)", old
    )

    assert before == without == after == (60, 1830)
    assert (
        await timescale_connection.fetchval("SELECT max(unspooled_batches) FROM agent_health") == 7
    )
    assert (
        await timescale_connection.fetchval("SELECT sum(sample_count) FROM agent_health_1m") == 61
    )
