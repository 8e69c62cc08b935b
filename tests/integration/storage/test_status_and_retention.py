from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from cli import doctor
from cli.commands import app
from storage import catalog, chunks, engines, lateness, maintenance, policies, retention, status
from storage.database import connect as open_connection
from storage.retention import InvalidRetention, Retention

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
DAY = timedelta(days=1)
RUN_RETENTION = """
SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'
"""


@pytest.fixture(params=["postgres", "timescale"])
def either(request: pytest.FixtureRequest) -> str:
    """Return the DSN of a migrated database, of one engine and then the other."""
    name = "database" if request.param == "postgres" else "timescale_migrated"
    return request.getfixturevalue(name)


@pytest.fixture
async def opened(either):
    connection = await open_connection(either, "test", statement_timeout_s=60)
    yield connection
    await connection.close()


async def put(connection, *, days: float = 2, servers: int = 2) -> None:
    """Store a row of cpu and memory every ten minutes: two values and a core, one NULL core."""
    begin = NOW - days * DAY
    engine = await engines.of(connection)
    moment = begin
    while moment < NOW:  # partitions as they were made at that time
        await engine.maintain(connection, moment)
        moment += DAY
    await engine.maintain(connection, NOW)
    for table, columns, values in (
        ("cpu", "usage_percent, load1, core_usage_percent", "50, 1.5, '{30,NULL}'::real[]"),
        ("memory", "total_bytes", "16000000000"),
    ):
        await connection.execute(
            f"INSERT INTO {table} (time, server_id, {columns}) SELECT t, s, {values}"
            " FROM generate_series($1::timestamptz, $2, INTERVAL '10 min') t,"
            " generate_series(1, $3::int) s",
            begin,
            NOW - timedelta(minutes=1),
            servers,
        )


async def expire(connection) -> None:
    """Let retention do its work now."""
    engine = await engines.of(connection)
    if engine.name == "timescale":
        for job in await connection.fetch(RUN_RETENTION):
            await connection.execute(f"CALL run_job({job['job_id']})")
    else:
        await engine.roll_up(connection)
        await maintenance.maintain(connection)


async def test_sizes_are_given_by_table_and_tier(opened):
    await put(opened)

    found = await status.collect(opened, now=NOW)

    sizes = {size.relation: size for size in found.sizes}
    assert list(sizes) == [name for name, _ in chunks.relations()]
    cpu = sizes["cpu"]
    assert cpu.rows == pytest.approx(2 * 288, abs=2)
    assert cpu.total_bytes == cpu.heap_bytes + cpu.index_bytes + cpu.toast_bytes
    assert min(cpu.heap_bytes, cpu.index_bytes) > 0
    assert cpu.values_per_row == 3
    assert cpu.bytes_per_value == pytest.approx(cpu.total_bytes / (cpu.rows * 3))
    assert sizes["memory"].values_per_row == 1
    assert sizes["tcp"].bytes_per_value is None


async def test_what_is_due_to_be_dropped_next_is_named_with_its_time(opened):
    await put(opened)

    found = await status.collect(opened, now=NOW)

    first = found.due[0]
    assert first.tier == "raw"
    assert first.at == max(NOW, first.end + lateness.RAW_RETENTION)
    assert [each.at for each in found.due] == sorted(each.at for each in found.due)


async def test_policies_tell_their_last_and_next_run(opened):
    await maintenance.maintain(opened)
    await maintenance.roll_up(opened)

    found = await status.collect(opened)

    kinds = {policy.kind for policy in found.policies}
    if found.software.engine == "timescale":
        assert kinds == {"refresh", "compression", "retention", "maintenance"}
        assert {p.relation for p in found.policies} >= {name for name, _ in chunks.relations()}
    else:
        assert kinds == {"maintenance", "rollups"}
    (maintained,) = (p for p in found.policies if p.kind == "maintenance")
    assert maintained.last_status == "ok"
    assert maintained.next_run is not None
    assert maintained.last_run is not None
    assert maintained.next_run - maintained.last_run == policies.MAINTAINED_EVERY


async def test_compression_shows_as_a_ratio(timescale_migrated):
    connection = await open_connection(timescale_migrated, "test", statement_timeout_s=60)
    await put(connection, servers=20)
    await connection.execute("SELECT compress_chunk(c) FROM show_chunks('cpu') c")

    found = await status.collect(connection, now=NOW)

    (cpu,) = (size for size in found.sizes if size.relation == "cpu")
    assert cpu.compression_ratio is not None
    assert cpu.compression_ratio > 1
    assert cpu.rows == pytest.approx(20 * 288, abs=20)
    await connection.close()


async def test_a_failed_maintenance_is_told_with_its_error(connection):
    await connection.execute("ALTER TABLE event RENAME TO gone")
    with pytest.raises(Exception, match="event"):
        await maintenance.maintain(connection)
    await connection.execute("ALTER TABLE gone RENAME TO event")

    found = await status.collect(connection)

    (policy,) = (p for p in found.policies if p.kind == "maintenance")
    assert policy.last_status is not None
    assert "UndefinedTableError" in policy.last_status


async def test_a_longer_retention_keeps_what_would_have_gone(opened):
    longer = Retention(raw=12 * DAY)
    await maintenance.keep_for(opened, longer)
    await put(opened, days=10)

    await expire(opened)

    assert await retention.read(opened) == longer
    assert await opened.fetchval("SELECT min(time) FROM cpu") < NOW - 9 * DAY


@pytest.mark.timeout(180)  # 37 s on the WebAssembly build
async def test_a_shorter_retention_drops_what_it_said_it_would(opened):
    before, after = Retention(raw=20 * DAY), Retention(raw=8 * DAY)
    await maintenance.keep_for(opened, before)
    await put(opened, days=12)
    found = await chunks.find(opened)
    doomed = retention.doomed(found, before=before, after=after, now=datetime.now(UTC))
    named = {chunk.name for chunk in doomed if chunk.relation == "cpu"}
    rows = sum(chunk.rows for chunk in doomed if chunk.relation == "cpu")
    total = await opened.fetchval("SELECT count(*) FROM cpu")

    await maintenance.keep_for(opened, after)
    await expire(opened)

    left = {chunk.name for chunk in await chunks.find(opened) if chunk.relation == "cpu"}
    assert named
    assert left == {chunk.name for chunk in found if chunk.relation == "cpu"} - named
    assert await opened.fetchval("SELECT count(*) FROM cpu") == total - rows
    assert await opened.fetchval("SELECT min(time) FROM cpu") < NOW - 7 * DAY


async def test_a_retention_that_breaks_the_chain_changes_nothing(opened):
    with pytest.raises(InvalidRetention, match="refresh from < raw retention - 1 chunk"):
        await maintenance.keep_for(opened, Retention(raw=6 * DAY))

    assert await retention.read(opened) == Retention()


async def test_imported_history_expires_with_its_tier(opened):
    archive = "hostpulse_internal.cpu_1m_archive"
    await opened.execute(
        f"INSERT INTO {archive} (time, server_id) VALUES ($1, 1), ($2, 1)",
        NOW - 40 * DAY,
        NOW - 20 * DAY,
    )

    await maintenance.maintain(opened)

    assert await opened.fetchval(f"SELECT min(time) FROM {archive}") == NOW - 20 * DAY


async def test_raw_samples_that_are_still_to_be_rolled_up_outlive_their_retention(connection):
    engine = await engines.of(connection)
    await connection.execute(
        "UPDATE hostpulse_internal.rollup_state SET watermark = $1", NOW - 10 * DAY
    )
    await put(connection, days=10)

    await engine.maintain(connection, NOW)
    kept = await connection.fetchval("SELECT min(time) FROM cpu")
    await engine.roll_up(connection)
    await engine.maintain(connection, NOW)

    assert kept == NOW - 10 * DAY
    assert await connection.fetchval("SELECT min(time) FROM cpu") > NOW - 9 * DAY
    assert await connection.fetchval("SELECT min(time) FROM cpu_1h") < NOW - 9 * DAY


@pytest.fixture
def command(database, monkeypatch):
    """Return what runs a command on the test's database; the answer is (exit status, output)."""
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", database)

    async def run(*arguments: str):
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    return run


async def test_the_commands_show_and_set_retention(command, connection):
    assert (await command("db", "retention")).stdout == "raw=7d 1m=30d 1h=1y\n"

    longer = await command("db", "retention", "set", "raw=10d", "1h=2y")
    shorter = await command("db", "retention", "set", "raw=8d")
    confirmed = await command("db", "retention", "set", "raw=8d", "--yes", "--json")

    assert longer.stdout == "raw=10d 1m=30d 1h=2y\n"
    assert "needs --yes" in str(shorter.exception)
    assert json.loads(confirmed.stdout) == {
        "raw_s": 8 * 86400,
        "1m_s": 30 * 86400,
        "1h_s": 730 * 86400,
    }
    lines = await connection.fetch("SELECT detail FROM audit WHERE action = 'retention.set'")
    assert [line["detail"]["after"] for line in lines] == [
        "raw=10d 1m=30d 1h=2y",
        "raw=8d 1m=30d 1h=2y",
    ]


async def test_the_status_command_prints_for_people_and_as_json(command, connection):
    await put(connection)
    await maintenance.maintain(connection)

    shown = await command("db", "status")
    printed = json.loads((await command("db", "status", "--json")).stdout)

    assert "plain PostgreSQL" in shown.stdout
    assert "raw=7d 1m=30d 1h=1y" in shown.stdout
    assert printed["engine"] == "postgres"
    assert printed["retention"] == {"raw": 604800.0, "1m": 2592000.0, "1h": 31536000.0}
    assert {size["relation"] for size in printed["sizes"]} >= {"cpu", "cpu_1m", "cpu_1h"}
    assert printed["due"][0]["tier"] == "raw"


async def test_the_reader_command_prints_an_address_that_works(command):
    printed = (await command("db", "url", "--reader")).stdout.strip()

    connection = await open_connection(printed, "test")
    assert await connection.fetchval("SELECT count(*) FROM cpu_1h") == 0
    await connection.close()


async def test_policies_that_say_something_else_are_altered_by_maintenance(timescale_migrated):
    connection = await open_connection(timescale_migrated, "test", statement_timeout_s=60)
    await retention.keep(connection, Retention(raw=9 * DAY, minute=40 * DAY))
    await connection.execute(
        'SELECT alter_job(job_id, config => config || \'{"compress_after": "26:00:00"}\')'
        " FROM timescaledb_information.jobs"
        " WHERE proc_name = 'policy_compression' AND hypertable_name = ANY($1::text[])",
        list(catalog.TABLES),
    )

    first = await maintenance.maintain(connection)
    second = await maintenance.maintain(connection)

    assert first == [
        "altered 10 retention policies of raw",
        "altered 10 retention policies of 1m",
        "altered 10 compression policies of raw",
    ]
    assert second == []
    await connection.close()


async def test_the_doctor_looks_at_the_engine_and_its_workers(either, monkeypatch):
    monkeypatch.setenv("HOSTPULSE_DATABASE_URL", either)
    monkeypatch.setenv("HOSTPULSE_HTTP_LISTEN", "127.0.0.1:9")  # nobody is there

    result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])

    assert result.stdout, result.exception
    findings = {finding["check"]: finding for finding in json.loads(result.stdout)}
    assert findings["engine"]["ok"]
    assert "rollups" in findings
    assert ("workers" in findings) == ("Community" in findings["engine"]["detail"])
    assert not findings["gateway"]["ok"]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("processes", "background", "paused", "advice"),
    [
        (32, 16, 0, ""),
        (8, 16, 0, "set max_worker_processes to 27 or more"),
        (64, 8, 0, "set timescaledb.max_background_workers to 14 or more"),
        (32, 16, 3, "3 jobs are paused"),
    ],
)
def test_too_few_workers_are_told_with_what_would_do(processes, background, paused, advice):
    finding = doctor.workers(
        {
            "jobs": 82,
            "processes": processes,
            "background": background,
            "parallel": 8,
            "paused": paused,
        }
    )

    assert finding.ok == (not advice)
    assert advice in finding.detail
