"""A disk that is full, and free again: nothing is lost, and nobody repairs anything by hand.

The disk is a real one, a file system of 2 MB, where the tests may mount it (as root); elsewhere a
trigger raises the error that PostgreSQL would (53100).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import uuid
from datetime import timedelta

import asyncpg
import pytest

from collector_gateway.ingest import Ingest
from collector_gateway.metrics import Metrics
from storage import catalog, maintenance, requests
from storage.database import open_pool

from .interrupted import BEGIN, NOW, assert_rolled_up, put

CPU_TODAY = f"hostpulse_internal.cpu_{NOW:%Y%m%d}"


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
