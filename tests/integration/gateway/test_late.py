"""What comes late is noted by the gateway and looked at by the alert worker; nobody is paged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alerting import late
from hostpulse.v1 import telemetry_pb2 as pb
from storage import database as storage_database

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Agent

INTERVAL_S = 10
NS_PER_S = 1_000_000_000
STRETCHES = (
    "SELECT server_id, extract(epoch FROM now() - from_time)::int AS from_s,"
    " extract(epoch FROM now() - to_time)::int AS to_s, evaluated_at"
    " FROM late_arrival ORDER BY from_time"
)


async def deliver(agent: Agent, ages_s, *, usage=99.0, first_seq=1) -> None:
    """Send one old sample of cpu for each age, and wait until all are stored."""
    for seq, age_s in enumerate(ages_s, first_seq):
        batch = agent.batch(seq, cpu=pb.CpuSample(usage_percent=usage))
        batch.lane = pb.LANE_BACKFILL
        batch.time_unix_ns -= age_s * NS_PER_S
        batch.boot_id = b"an earlier boot!"
        await agent.send(pb.StreamRequest(batch=batch))
    for _ in ages_s:
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED


async def settle(connection: storage_database.Connection) -> None:
    """Let the time pass after which a stretch counts as complete."""
    await connection.execute(
        "UPDATE late_arrival SET learned_at = learned_at - interval '1 minute'"
        " WHERE evaluated_at IS NULL"
    )


async def test_a_breach_that_came_late_ends_as_would_have_fired(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await deliver(agent, range(7200, 7000, -INTERVAL_S))
        await deliver(agent, [6990], usage=3.0, first_seq=30)
        assert await late.run_once(connection) == 0  # more of it may come
        await settle(connection)
        looked = await late.run_once(connection)
        again = await late.run_once(connection)

    rows = await connection.fetch("SELECT rule_name, severity, value, ended_at FROM late_firing")
    assert looked in (1, 2)  # it may touch two clock hours
    assert again == 0
    assert ("cpu_usage", "critical") in {(row["rule_name"], row["severity"]) for row in rows}
    assert all(row["value"] == 99.0 and row["ended_at"] is not None for row in rows)


async def test_a_tick_an_hour_late_and_its_neighbours_are_one_stretch_of_an_hour(
    harness, connection
):
    # Of one clock hour, whatever the time is now.
    into_s = await connection.fetchval("SELECT extract(epoch FROM now())::int % 3600")
    last = into_s + 3600 - 600
    async with harness.stream() as agent:
        await agent.hello()
        await deliver(agent, range(last, last - 300, -INTERVAL_S))
        await deliver(agent, [last + 60], first_seq=100)

    (stretch,) = await connection.fetch(STRETCHES)
    assert stretch["from_s"] == pytest.approx(last + 60, abs=5)
    assert stretch["to_s"] == pytest.approx(last - 290, abs=5)


async def test_what_grows_while_it_is_looked_at_is_looked_at_again(harness, connection, database):
    async with harness.stream() as agent:
        await agent.hello()
        await deliver(agent, [7200])
        await settle(connection)
        other = await storage_database.connect(database, "test")
        async with other.transaction():
            # The worker has read what is waiting, and not said yet that it is done.
            seen = await other.fetchrow("SELECT id, learned_at FROM late_arrival")
            await deliver(agent, [7200], first_seq=2)
            await other.execute(late.DONE, [seen["id"]], [seen["learned_at"]])
        await other.close()
        assert await connection.fetchval("SELECT evaluated_at FROM late_arrival") is None
        await settle(connection)
        assert await late.run_once(connection) == 1
        await deliver(agent, [7200], first_seq=3)

    evaluated = [row["evaluated_at"] is not None for row in await connection.fetch(STRETCHES)]
    assert sorted(evaluated) == [False, True]


async def test_fresh_ticks_and_duplicates_are_not_late(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED
        await deliver(agent, [7200], first_seq=1)  # its number is taken

    assert await connection.fetch(STRETCHES) == []
