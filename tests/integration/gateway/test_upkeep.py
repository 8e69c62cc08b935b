"""One gateway maintains the database; the others do if it does not."""

from __future__ import annotations

import asyncio

from collector_gateway import upkeep
from collector_gateway.metrics import Metrics
from storage import database as storage_database
from storage import maintenance


async def test_maintenance_that_another_process_did_not_finish_is_done_soon(
    connection, database, monkeypatch
):
    monkeypatch.setattr(upkeep, "RETRY_S", 0.1)
    stop = asyncio.Event()
    async with storage_database.open_pool(
        database, "test", max_size=1, statement_timeout_s=10
    ) as pool:
        kept = upkeep.Upkeep(database, query_pool=pool, stalled_s=lambda: 0.0, metrics=Metrics())
        await connection.execute("DELETE FROM setting WHERE key = 'maintenance.last_run'")
        await connection.execute("SELECT pg_advisory_lock($1)", maintenance.ADVISORY_LOCK)
        running = asyncio.create_task(kept.maintain(stop))
        await asyncio.sleep(1.0)
        before = await maintenance.age_s(connection)
        await connection.execute("SELECT pg_advisory_unlock($1)", maintenance.ADVISORY_LOCK)
        async with asyncio.timeout(10):
            while await maintenance.age_s(connection) is None:
                await asyncio.sleep(0.05)
        stop.set()
        await running

    assert before is None
