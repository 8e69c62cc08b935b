"""Rollups that broke in the middle mend themselves: nothing is repaired by SQL of a test."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from storage import engines, maintenance

from .interrupted import BEGIN, NOW, WAITS_FOR_A_LOCK, assert_rolled_up, eventually, put


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


async def test_a_rollup_that_takes_too_long_ends_and_says_so(connection, others, monkeypatch):
    await put(connection)
    monkeypatch.setattr(maintenance, "TIMEOUT_S", 0.3)
    blocker, slow = await others(), await others()
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE cpu IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            await maintenance.roll_up(slow)

    outcome = (await maintenance.outcomes(connection))["rollups"]
    monkeypatch.undo()
    await maintenance.roll_up(connection)  # the lock of the one that took too long is free

    assert outcome.error == "TimeoutError: not done within 0.3 s"
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
