"""A partition whose detaching was held up, killed or forgotten is dropped by the next run."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import asyncpg
import pytest

from storage import engines, maintenance

from .interrupted import NOW, WAITS_FOR_A_LOCK, eventually


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
