"""A migration that was killed is done by running it again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from pathlib import Path

from migrations import run
from storage import schema
from storage.database import connect as open_connection
from storage.database import create_if_missing

from .interrupted import WAITS_FOR_A_LOCK, eventually

ROOT = Path(__file__).parents[3]


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
