from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from migrations import run
from storage import catalog, database, engines, ledger, moving
from storage.claims import claim
from storage.database import connect as open_connection

from . import week
from .test_ledger import claim_of
from .test_rollups_are_equal import compare, load


@pytest.fixture
async def source(connection):
    """Return a database with two days of samples, older rollups, servers and a ledger."""
    now = datetime.now(UTC)
    claims = [claim_of("a"), claim_of("b")]
    await claim(connection, claims, gateway="g")
    rows = week.samples(begin=now - timedelta(hours=30), end=now - timedelta(minutes=5))
    await load(connection, rows)
    engine = await engines.of(connection)
    await engine.roll_up(connection)
    for tier in week.TIERS:
        await connection.execute(
            f"INSERT INTO hostpulse_internal.cpu_{tier}_archive"
            " (time, server_id, usage_percent, sample_count)"
            " SELECT t, 1, 50, 6 FROM generate_series(date_trunc('hour', now())"
            " - interval '20 days', now() - interval '19 days', interval '1 hour') t"
        )
    async with connection.transaction():
        batches = [ledger.BatchId(server_id=1, epoch=77, seq=seq) for seq in (1, 2, 3)]
        await ledger.accept(connection, batches, {1: claims[0].session})
    return connection, rows


@pytest.fixture
async def target(template):
    """Return an empty migrated database: another one on the same server."""
    dsn = f"{template.rpartition('/')[0]}/move_target"
    await database.create_if_missing(dsn)
    await asyncio.to_thread(run.upgrade, dsn)
    opened = await database.connect(dsn, "move", statement_timeout_s=120)
    yield opened
    await opened.close()
    admin = await database.connect(template, "test")
    await admin.execute("DROP DATABASE move_target WITH (FORCE)")
    await admin.close()


async def contents(connection, relation: str, key: str = "time") -> list[tuple]:
    return [
        tuple(row)
        for row in await connection.fetch(f"SELECT * FROM {relation} ORDER BY {key}, 2, 3")
    ]


@pytest.mark.timeout(180)
async def test_everything_arrives_with_all_tiers_even_when_the_move_is_cut_short(source, target):
    connection, rows = source

    for stop_after in (3, 40, 1):  # a generator that is closed is a process that was killed
        steps = moving.move(connection, target, by="test")
        for _ in range(stop_after):
            await anext(steps)
        await steps.aclose()
    async for _ in moving.move(connection, target, by="test"):
        pass

    for table in catalog.TABLES:
        assert await target.fetchval(f"SELECT count(*) FROM {table}") == len(rows[table])
    await compare(
        target,
        rows,
        until=datetime.now(UTC) + timedelta(hours=1),
        since=datetime.now(UTC) - timedelta(days=3),
    )
    old = "(SELECT * FROM cpu_1h WHERE time < now() - interval '10 days') o"
    assert await contents(target, old) == await contents(connection, old)
    assert len(await contents(target, old)) == 25
    for relation, key in (("server", "id"), ("ingest_ledger", "epoch"), ("alert_rule", "id")):
        assert await contents(target, relation, key) == await contents(connection, relation, key)


@pytest.mark.timeout(180)
async def test_a_move_that_goes_on_later_parts_raw_from_old_as_it_began(source, target):
    connection, rows = source
    steps = moving.move(connection, target, by="test")
    await anext(steps)
    await steps.aclose()
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begun = await target.fetchval("SELECT value FROM hostpulse_meta WHERE key = 'move'")
    # Begun in a week: then only what is of today is worth copying raw.
    begun["at"] = (midnight + timedelta(days=7)).isoformat()
    await target.execute(moving.REMEMBER, begun)

    names = [step.step async for step in moving.move(connection, target, by="test")]

    raw = [datetime.fromisoformat(name[4:] + "Z") for name in names if name.startswith("cpu ")]
    assert min(raw) == midnight
    assert await target.fetchval("SELECT min(time) FROM cpu") >= midnight
    await compare(
        target,
        rows,
        until=datetime.now(UTC) + timedelta(hours=1),
        since=datetime.now(UTC) - timedelta(days=3),
    )


async def test_new_servers_get_numbers_that_were_never_used(source, target):
    connection, _ = source
    async for _ in moving.move(connection, target, by="test"):
        pass

    (answer,) = await claim(target, [claim_of("c")], gateway="g")

    assert answer.server_id > 2


async def test_a_target_that_holds_something_is_refused(source, target):
    connection, _ = source
    await claim(target, [claim_of("z")], gateway="g")

    with pytest.raises(moving.MoveRefused, match="holds something already"):
        await anext(moving.move(connection, target, by="test"))


async def test_a_source_that_a_gateway_uses_is_refused(source, target, database):
    connection, _ = source
    gateway = await open_connection(database, "flush")
    with pytest.raises(moving.MoveRefused, match="is in use"):
        await anext(moving.move(connection, target, by="test"))
    await gateway.close()
