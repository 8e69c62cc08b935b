"""What breaks in the middle mends itself: no test here repairs anything by SQL of its own.

Run on the embedded PostgreSQL. The full disk is a real one, a file system of 2 MB, where the tests
may mount it (as root); elsewhere a trigger raises the error that PostgreSQL would (53100).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from collector_gateway.ingest import Ingest
from collector_gateway.metrics import Metrics
from migrations import run
from storage import catalog, engines, maintenance, requests, schema
from storage.database import connect as open_connection
from storage.database import create_if_missing, open_pool

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
BEGIN = NOW - timedelta(hours=30)
CPU_TODAY = f"hostpulse_internal.cpu_{NOW:%Y%m%d}"
BEGIN_ROLLUPS = "UPDATE hostpulse_internal.rollup_state SET watermark = $1"
WAITS_FOR_A_LOCK = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""
# Both tiers as plain SQL over raw samples, against what the rollups say: where they differ.
DIFFERENCE = """
WITH raw AS (
  SELECT date_bin($1::interval, time, 'epoch') AS time, server_id, count(*) AS n,
         avg(usage_percent) AS usage
  FROM cpu GROUP BY 1, 2
), rolled AS (
  SELECT time, server_id, sum(sample_count) AS n, avg(usage_percent) AS usage, count(*) AS rows
  FROM {} GROUP BY 1, 2
)
SELECT * FROM raw FULL JOIN rolled USING (time, server_id)
WHERE rows IS DISTINCT FROM 1 OR raw.n IS DISTINCT FROM rolled.n
   OR abs(raw.usage - rolled.usage) > 1e-4
"""


async def put(connection) -> None:
    """Store 30 hours of two servers that nothing has rolled up yet."""
    engine = await engines.of(connection)
    await engine.maintain(connection, BEGIN)
    await engine.maintain(connection, NOW)
    await connection.execute(BEGIN_ROLLUPS, BEGIN.replace(minute=0))
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT t, s, extract(epoch FROM t)::bigint % 100"
        " FROM generate_series($1::timestamptz, $2, INTERVAL '30 s') t, generate_series(1, 2) s",
        BEGIN,
        NOW,
    )


async def assert_rolled_up(connection) -> None:
    """Look that every bucket is there, once, with the right numbers, and finished in time."""
    for tier, width in (("1m", timedelta(minutes=1)), ("1h", timedelta(hours=1))):
        assert await connection.fetch(DIFFERENCE.format(f"cpu_{tier}"), width) == []
    engine = await engines.of(connection)
    assert await engine.rollup_lag_s(connection) < 2 * 3600


async def eventually(connection, query: str, *arguments):
    """Return what a query finds, as soon as it finds something."""
    async with asyncio.timeout(20):
        while (found := await connection.fetchval(query, *arguments)) is None:
            await asyncio.sleep(0.02)
    return found


@pytest.fixture
async def others(database):
    """Return what opens more connections; they are cut at the end."""
    opened: list[asyncpg.Connection] = []

    async def another(**options):
        connection = await open_connection(database, "test", **options)
        opened.append(connection)
        return connection

    yield another
    for connection in opened:
        connection.terminate()


class Disk:
    """A disk of 2 MB that one partition lies on, to be filled and freed."""

    def __init__(self, connection, tablespace: str | None) -> None:
        self._connection = connection
        self._tablespace = tablespace
        self._partition = ""

    async def fill(self, partition: str) -> None:
        """Move an empty partition here, and leave no room for its first row."""
        self._partition = partition
        execute = self._connection.execute
        if self._tablespace is None:
            await execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE 'could not extend file: No space left on device'"
                " USING ERRCODE = 'disk_full'; END $$"
            )
            await execute(
                f"CREATE TRIGGER full_disk BEFORE INSERT ON {partition}"
                " FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
            return
        await execute(f"ALTER TABLE {partition} SET TABLESPACE {self._tablespace}")
        await execute(f"CREATE TABLE ballast (b text) TABLESPACE {self._tablespace}")
        await execute("ALTER TABLE ballast ALTER b SET STORAGE plain")
        with contextlib.suppress(asyncpg.DiskFullError):
            while True:  # page by page, to the last one
                await execute("INSERT INTO ballast VALUES (repeat('x', 8000))")

    async def free(self) -> None:
        """Make room: what an operator does by deleting other things."""
        if self._tablespace is None:
            await self._connection.execute(f"DROP TRIGGER full_disk ON {self._partition}")
        else:
            await self._connection.execute("DROP TABLE ballast")


@pytest.fixture
async def disk(others, postgres, data_root):
    """Return a disk that can be full."""
    connection = await others()
    place = data_root / f"disk_{uuid.uuid4().hex[:8]}"
    place.mkdir(mode=0o700)
    uid = postgres.account.uid
    mount = ["mount", "-t", "tmpfs", "-o", f"size=2m,mode=0700,uid={uid}", "tmpfs", str(place)]
    mounted = (
        os.geteuid() == 0
        and subprocess.run(mount, check=False, capture_output=True, timeout=10).returncode == 0
    )
    if not mounted:
        yield Disk(connection, None)
        return
    name = place.name
    await connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    try:
        yield Disk(connection, name)
    finally:
        await connection.execute("DROP TABLE IF EXISTS ballast")
        await connection.execute(f"ALTER TABLE ALL IN TABLESPACE {name} SET TABLESPACE pg_default")
        await connection.execute(f"DROP TABLESPACE {name}")
        subprocess.run(["umount", str(place)], check=True, timeout=10)


async def test_samples_wait_while_the_disk_is_full_and_are_stored_once_afterwards(
    connection, database, disk
):
    await disk.fill(CPU_TODAY)
    row = (NOW, 1, 42.0, *(None,) * (len(catalog.CPU.columns) - 3))
    async with open_pool(database, "test", max_size=1, statement_timeout_s=5) as pool:
        ingest = Ingest(pool, session_of=lambda _: None, repair=lambda: None, metrics=Metrics())
        running = asyncio.create_task(ingest.run())
        request = requests.Request(key="k", body_sha256=b"", status=202, response={})
        storing = asyncio.create_task(
            ingest.store(server_id=1, rows={"cpu": [row]}, taken=NOW, request=request)
        )
        async with asyncio.timeout(10):
            while not ingest.stalled_s:
                await asyncio.sleep(0.02)
        assert not storing.done()

        await disk.free()
        await storing
        ingest.stop()
        await running

    assert await connection.fetchval("SELECT array_agg(usage_percent) FROM cpu") == [42.0]
    assert ingest.stalled_s == 0


async def test_a_rollup_that_found_the_disk_full_is_made_by_the_next_run(connection, disk):
    await put(connection)
    week = BEGIN - timedelta(days=BEGIN.weekday())
    await disk.fill(f"hostpulse_internal.cpu_1m_rollup_{week:%Y%m%d}")
    with pytest.raises(asyncpg.DiskFullError):
        await maintenance.roll_up(connection)

    await disk.free()
    await maintenance.roll_up(connection)

    failed = (await maintenance.outcomes(connection))["rollups"]
    assert failed.error is None
    if week.replace(hour=0, minute=0) <= BEGIN:
        await assert_rolled_up(connection)


async def test_a_rollup_that_ran_into_its_statement_timeout_takes_smaller_steps(connection, others):
    await put(connection)
    await connection.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.002); RETURN new; END $$"
    )
    await connection.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON hostpulse_internal.cpu_1h_rollup"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    await connection.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON hostpulse_internal.cpu_1m_rollup"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    hurried = await others(statement_timeout_s=0.3)  # two hours of two servers take 0.5 s

    await maintenance.roll_up(hurried)

    await assert_rolled_up(connection)


async def test_a_rollup_that_was_cancelled_for_good_is_made_by_the_next_run(connection, others):
    await put(connection)
    blocker, hurried = await others(), await others(statement_timeout_s=0.3)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE cpu IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(asyncpg.QueryCanceledError):
            await maintenance.roll_up(hurried)

    error = (await maintenance.outcomes(connection))["rollups"].error
    await maintenance.roll_up(connection)  # the lock of the one that failed is free

    assert error is not None
    assert "QueryCanceledError" in error
    await assert_rolled_up(connection)


async def test_a_rollup_killed_in_mid_transaction_is_made_by_another_process(connection, others):
    await put(connection)
    blocker, victim = await others(), await others()
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE hostpulse_internal.memory_1m_rollup")
        running = asyncio.create_task(maintenance.roll_up(victim))
        pid = await eventually(connection, WAITS_FOR_A_LOCK)
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await running

    assert await maintenance.roll_up(connection) is not None
    await assert_rolled_up(connection)


async def test_late_samples_whose_redoing_was_killed_are_redone_by_another_process(
    connection, others
):
    await put(connection)
    await maintenance.roll_up(connection)
    engine = await engines.of(connection)
    late = BEGIN + timedelta(hours=5, seconds=7)
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO cpu (time, server_id, usage_percent) VALUES ($1, 2, 77)", late
        )
        await engine.note_late(connection, [("cpu", 2, late)])
    blocker, victim = await others(), await others()
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE hostpulse_internal.cpu_1h_rollup")  # after 1m is redone
        running = asyncio.create_task(maintenance.roll_up(victim))
        pid = await eventually(connection, WAITS_FOR_A_LOCK)
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await running

    await maintenance.roll_up(connection)

    await assert_rolled_up(connection)


async def test_several_workers_at_once_do_the_work_once(connection, others):
    await put(connection)
    workers = [await others() for _ in range(4)]

    rolled = await asyncio.gather(*(maintenance.roll_up(worker) for worker in workers))
    made = await asyncio.gather(
        *(maintenance.maintain(w, now=NOW + timedelta(days=4)) for w in workers)
    )

    assert any(rolled)
    created = [line for lines in made for line in lines or [] if line.startswith("created cpu_2")]
    assert created
    assert len(created) == len(set(created))
    await assert_rolled_up(connection)


async def test_a_worker_leaves_alone_what_another_is_at(connection, others):
    await connection.execute("SELECT pg_advisory_lock($1)", maintenance.ADVISORY_LOCK)
    await connection.execute("SELECT pg_advisory_lock($1)", maintenance.ROLLUP_LOCK)
    other = await others()

    assert await maintenance.maintain(other) is None
    assert await maintenance.roll_up(other) is None


@pytest.fixture
async def expired(connection) -> list[str]:
    """Return three partitions of cpu that are due to be dropped, the oldest first."""
    engine = await engines.of(connection)
    await engine.maintain(connection, NOW - timedelta(days=20))
    names = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relname ~ '^cpu_[0-9]{8}$' AND relname < $1"
        " ORDER BY 1 LIMIT 3",
        f"cpu_{NOW - timedelta(days=9):%Y%m%d}",
    )
    assert len(names) == 3
    return [row["relname"] for row in names]


async def pending(connection) -> list[str]:
    """Return the partitions that are half detached."""
    rows = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhdetachpending"
    )
    return [row["name"].rpartition(".")[2] for row in rows]


async def assert_dropped(connection, expired: list[str]) -> None:
    there = "SELECT count(*) FROM pg_class WHERE relname = ANY($1)"
    assert await connection.fetchval(there, expired) == 0
    assert await pending(connection) == []


async def test_a_detach_that_a_reader_held_up_is_finished_by_the_next_run(
    connection, others, expired
):
    reader, writer = await others(), await others()
    async with reader.transaction():
        await reader.fetchval("SELECT count(*) FROM cpu")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await maintenance.maintain(connection)
        half = await pending(connection)
        await writer.execute("INSERT INTO cpu (time, server_id) VALUES ($1, 1)", NOW)
    await maintenance.maintain(connection)

    assert half == expired[:1]
    await assert_dropped(connection, expired)


async def test_a_detach_that_was_killed_is_finished_first_whichever_it_was(
    connection, others, expired
):
    reader, victim = await others(), await others(lock_timeout_s=30)
    async with reader.transaction():
        await reader.fetchval("SELECT count(*) FROM cpu")
        newest = f"hostpulse_internal.{expired[-1]}"
        running = asyncio.create_task(
            victim.execute(f"ALTER TABLE cpu DETACH PARTITION {newest} CONCURRENTLY")
        )
        await eventually(connection, "SELECT true FROM pg_inherits WHERE inhdetachpending")
        pid = await eventually(connection, WAITS_FOR_A_LOCK)
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await running
    half = await pending(connection)

    await maintenance.maintain(connection)

    assert half == [expired[-1]]
    await assert_dropped(connection, expired)


async def test_a_partition_that_was_detached_and_not_dropped_goes_too(connection, expired):
    await connection.execute(f"ALTER TABLE cpu DETACH PARTITION hostpulse_internal.{expired[1]}")

    await maintenance.maintain(connection)

    await assert_dropped(connection, expired)


def migrating(dsn: str) -> subprocess.Popen[bytes]:
    """Migrate to the newest schema in a process of its own."""
    code = "import sys; from migrations import run; run.upgrade(sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", code, dsn], cwd=ROOT)


def test_a_migration_killed_half_way_is_done_by_running_it_again(postgres):
    dsn = f"{postgres.url.rpartition('/')[0]}/killed_{uuid.uuid4().hex[:8]}"
    asyncio.run(create_if_missing(dsn))
    run.upgrade(dsn, "0005")

    async def kill_in_the_middle() -> float:
        blocker, watcher = await open_connection(dsn, "test"), await open_connection(dsn, "test")
        async with blocker.transaction():
            await blocker.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await blocker.execute("LOCK TABLE process IN ACCESS EXCLUSIVE MODE")
            victim = migrating(dsn)
            await eventually(watcher, WAITS_FOR_A_LOCK)
            victim.kill()
            await asyncio.to_thread(victim.wait, 10)
            # The server does not know yet: its session waits on, with the lock of migrations.
            again = migrating(dsn)
            await eventually(
                watcher, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
        started = time.monotonic()
        assert await asyncio.to_thread(again.wait, 60) == 0
        await schema.check(watcher)
        assert await watcher.fetchval("SELECT version_num FROM alembic_version") == run.head()
        assert await watcher.fetchval("SELECT count(*) FROM cpu_1h") == 0
        await watcher.close()
        await blocker.close()
        return time.monotonic() - started

    assert asyncio.run(kill_in_the_middle()) < 30
