"""What came late is noted and pages nobody; the heartbeat is told only while all is well."""

from __future__ import annotations

import asyncio

import pytest

from alerting import backtest, dead_man, late
from hostpulse import errors

RULE = [{"severity": "warning", "threshold": 80, "for_s": 30}]


@pytest.fixture
async def backfilled(house):
    """An hour-old breach of five minutes that has just arrived."""
    server_id = await house.add_server("web", interval_s=10)
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    breach = [(3600.0 + 10 * n, 95.0) for n in range(30)]
    await house.add_cpu(server_id, [*breach, (3590.0, 10.0)])
    house.server_id = server_id
    await house.connection.execute(
        "INSERT INTO late_arrival (server_id, from_time, to_time, learned_at) VALUES"
        " ($1, now() - interval '65 minutes', now() - interval '59 minutes',"
        " now() - interval '1 minute')",
        server_id,
    )
    return house


async def test_what_would_have_fired_is_noted_once_and_pages_nobody(backfilled):
    first = await late.run_once(backfilled.connection)
    second = await late.run_once(backfilled.connection)
    await backfilled.cycle()

    (row,) = await backfilled.connection.fetch(
        "SELECT rule_name, server_id, severity, value, learned_at > fired_at AS later,"
        " extract(epoch FROM ended_at - fired_at)::int AS lasted_s FROM late_firing"
    )
    assert (first, second) == (1, 0)
    assert tuple(row) == ("cpu_usage", backfilled.server_id, "warning", 95.0, True, 270)
    assert await backfilled.notifications() == []


async def test_what_was_told_in_time_is_no_news(backfilled):
    await backfilled.connection.execute(
        "INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change,"
        " from_state, to_state, firing_number) VALUES (now() - interval '64 minutes', 1,"
        " 'cpu_usage', $1, '{}', 'fired', 'pending', 'firing', 1)",
        backfilled.server_id,
    )

    await late.run_once(backfilled.connection)

    assert await backfilled.connection.fetchval("SELECT count(*) FROM late_firing") == 0


async def test_a_stretch_that_takes_too_long_holds_up_no_other(backfilled, monkeypatch):
    slow = await backfilled.add_server("slow", interval_s=10)
    await backfilled.connection.execute(
        "INSERT INTO late_arrival (server_id, from_time, to_time, learned_at) VALUES"
        " ($1, now() - interval '65 minutes', now() - interval '59 minutes',"
        " now() - interval '2 minutes')",
        slow,
    )
    find = backtest.find

    async def sleep_for_the_slow_one(connection, rule, *, servers, **span):
        if servers == [slow]:
            await connection.execute("SELECT pg_sleep(10)")
        return await find(connection, rule, servers=servers, **span)

    monkeypatch.setattr(backtest, "find", sleep_for_the_slow_one)
    await backfilled.connection.execute("SET statement_timeout = '500ms'")

    looked = await late.run_once(backfilled.connection)
    at_once = await late.run_once(backfilled.connection)

    assert (looked, at_once) == (2, 0)  # not before it has waited as all do
    assert await backfilled.connection.fetchval("SELECT count(*) FROM late_firing") == 1
    waiting = await backfilled.connection.fetch(
        "SELECT server_id, learned_at > now() - interval '30 seconds' AS behind"
        " FROM late_arrival WHERE evaluated_at IS NULL"
    )
    assert [tuple(row) for row in waiting] == [(slow, True)]


class Outside:
    """Remembers what it was told, or refuses it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    async def __call__(self, url: str) -> None:
        self.calls += 1
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        pytest.param("SELECT 1", (), id="all is well"),
        pytest.param(
            "UPDATE server SET last_seen = now() - interval '5 minutes'",
            ("ingest",),
            id="nothing is heard",
        ),
        pytest.param("DELETE FROM setting", ("evaluate",), id="no cycle runs"),
        pytest.param(
            "INSERT INTO notification (created_at, alert_id, channel, kind, dedup_key, payload,"
            " next_attempt_at) VALUES (now() - interval '11 minutes', 1, 'ops', 'fired', 'k',"
            " '{}', now())",
            ("notify",),
            id="a message does not get out",
        ),
    ],
)
async def test_the_heartbeat_is_told_only_while_the_whole_way_is_proven(
    house, pool, damage, broken
):
    await house.add_server("web")
    await house.cycle()
    await house.connection.execute(damage)
    outside = Outside()

    health = await dead_man.DeadMan(
        pool, url="https://example.org/s3cr3t", stop=asyncio.Event(), send=outside
    ).run_once()

    assert health.broken == broken
    assert outside.calls == (0 if broken else 1)


async def test_an_address_that_refuses_stops_nothing(house, pool):
    await house.add_server("web")
    await house.cycle()
    outside = Outside(errors.Permanent("gone"))

    await dead_man.DeadMan(pool, url="x", stop=asyncio.Event(), send=outside).run_once()

    assert outside.calls == 1
