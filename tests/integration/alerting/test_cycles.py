"""Cycles on a real database: missing data, silence, stalls, several workers, restarts."""

from __future__ import annotations

import asyncio
import importlib
from datetime import timedelta

import asyncpg
import pytest

from alerting import cycle, records
from storage import database as storage_database

RULE = [{"severity": "warning", "threshold": 80, "for_s": 30}]
BREACH = [(1.0 + 10 * n, 90.0) for n in range(4)]


@pytest.fixture
async def firing(house):
    """A server whose CPU alert fires, on a channel."""
    house.server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    await house.add_cpu(house.server_id, BREACH)
    await house.cycle()
    await house.listen_since()
    return house


async def age_samples(house, seconds: float) -> None:
    await house.connection.execute(
        "UPDATE cpu SET time = time - make_interval(secs => $1)", seconds
    )


async def test_vanished_samples_are_no_data_and_never_resolved(firing):
    await age_samples(firing, 120)

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "no_data", "warning")]
    assert await firing.notifications() == [("fired", "pending")]


async def test_a_goodbye_makes_its_alerts_no_data_by_the_rules_policy(firing):
    await firing.set_rule("cpu_usage", no_data="ok")
    await firing.connection.execute("UPDATE server SET status = 'stopped'")

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "no_data", None)]
    assert [kind for kind, _ in await firing.notifications()] == ["fired", "no_data"]


async def test_a_firing_goes_on_after_a_hole_without_a_second_message(firing):
    await age_samples(firing, 120)
    await firing.cycle()
    await firing.add_cpu(firing.server_id, [(0.0, 90.0)])

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "firing", "warning")]
    assert [kind for kind, _ in await firing.notifications()] == ["fired"]


async def test_a_restart_neither_forgets_nor_repeats(firing):
    other = await storage_database.connect(firing.dsn, "test")
    for _ in range(3):
        await cycle.run(other)
    await other.close()

    assert await firing.changes() == ["fired"]
    assert len(await firing.notifications()) == 1


async def test_two_workers_at_once_never_double(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    await house.add_cpu(server_id, BREACH)
    workers = [await storage_database.connect(house.dsn, f"test {n}") for n in range(3)]

    for _ in range(5):
        await asyncio.gather(*(cycle.run(each) for each in workers))

    for each in workers:
        await each.close()
    assert await house.changes() == ["fired"]
    assert len(await house.notifications()) == 1


async def test_a_worker_waits_for_its_turn_without_waiting(house):
    other = await storage_database.connect(house.dsn, "test")
    async with other.transaction():
        assert await records.take_turn(other)

        assert await cycle.run(house.connection) is None
    await other.close()


async def test_a_worker_killed_between_two_statements_leaves_nothing_behind(house, monkeypatch):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE)
    await house.connection.execute("INSERT INTO channel (name, kind) VALUES ('ops', 'email')")
    await house.add_cpu(server_id, BREACH)
    victim = await storage_database.connect(house.dsn, "victim")
    save = records.save

    async def save_and_die(*given):
        await save(*given)
        pid = given[0].get_server_pid()
        await house.connection.execute("SELECT pg_terminate_backend($1)", pid)

    monkeypatch.setattr(records, "save", save_and_die)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await cycle.run(victim)
    monkeypatch.undo()
    assert (await house.changes(), await house.notifications()) == ([], [])

    await house.cycle()

    assert await house.changes() == ["fired"]
    assert await house.notifications() == [("fired", "pending")]


async def test_disabling_a_rule_closes_what_it_has_open(firing):
    await firing.set_rule("cpu_usage", enabled=False)

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "ok", None)]
    assert [kind for kind, _ in await firing.notifications()] == ["fired", "withdrawn"]


async def test_a_forgotten_server_takes_its_alerts_along(firing):
    await firing.connection.execute("DELETE FROM server")

    await firing.cycle()

    assert await firing.changes() == ["fired", "withdrawn"]


async def test_a_rule_that_cannot_be_read_is_reported_and_stops_no_other(firing):
    await firing.connection.execute(
        "UPDATE alert_rule SET metric = 'no.such', enabled = true WHERE name = 'load'"
    )
    await firing.add_cpu(firing.server_id, [(0.0, 5.0)])

    report = await firing.cycle()

    assert "no.such" in report.invalid["load"]
    assert await firing.changes() == ["fired", "resolved"]


async def test_critical_replaces_warning_without_a_resolved(firing):
    await firing.set_rule(
        "cpu_usage", levels=[*RULE, {"severity": "critical", "threshold": 95, "for_s": 0}]
    )
    await firing.add_cpu(firing.server_id, [(0.0, 99.0)])

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "firing", "critical")]
    assert await firing.changes() == ["fired", "severity_changed"]


async def test_a_healthy_server_that_goes_missing_is_said_where_the_rule_asks(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", no_data="alert")
    await house.listen_since()
    await house.add_cpu(server_id, [(60.0, 5.0)])

    await house.cycle()

    assert await house.alerts() == [("cpu_usage", "web", "no_data", None)]


async def silent(house, **seconds: float) -> None:
    """Let servers have been heard so long ago."""
    for name, ago in seconds.items():
        if await house.connection.fetchval("SELECT true FROM server WHERE name = $1", name) is None:
            await house.add_server(name)
        await house.connection.execute(
            "UPDATE server SET last_seen = now() - make_interval(secs => $2) WHERE name = $1",
            name,
            ago,
        )


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        pytest.param({"web": 59}, [], id="not yet"),
        pytest.param({"web": 61}, ["web"], id="one server is offline, however alone"),
        pytest.param({"web": 61, "db": 5}, ["web"], id="one of two"),
        pytest.param({"web": 29, "db": 28}, [], id="both silent for less than 30 s"),
        pytest.param({"web": 70, "db": 65}, [None], id="all at once: ingest is stalled"),
        pytest.param({"web": 900, "db": 65}, ["db", "web"], id="one after the other: no stall"),
    ],
)
async def test_silence_is_offline_or_a_stall(house, heard, expected):
    await house.only("agent_offline")
    await house.listen_since()
    await silent(house, **heard)

    await house.cycle()

    firing = [(server, state) for _, server, state, _ in await house.alerts()]
    assert firing == [(server, "firing") for server in expected]


async def test_three_intervals_are_waited_for(house):
    await house.only("agent_offline")
    await house.listen_since()
    await house.add_server("web", interval_s=60)
    await silent(house, web=170)
    await house.cycle()
    assert await house.alerts() == []

    await silent(house, web=181)
    await house.cycle()

    assert await house.alerts() == [("agent_offline", "web", "firing", "critical")]


@pytest.mark.parametrize(
    "change", ["status = 'stopped'", "watch_offline = false", "last_seen = NULL"]
)
async def test_who_said_goodbye_or_is_not_watched_is_not_offline(house, change):
    await house.only("agent_offline")
    await house.listen_since()
    await silent(house, web=500)
    await house.connection.execute(f"UPDATE server SET {change}")

    await house.cycle()

    assert await house.alerts() == []


async def test_a_server_that_is_heard_again_is_no_longer_offline(house):
    await house.only("agent_offline")
    await house.listen_since()
    await silent(house, web=100)
    await house.cycle()
    await silent(house, web=1)

    await house.cycle()

    assert await house.changes() == ["fired", "resolved"]


async def test_after_a_stall_servers_are_given_time_to_come_back(house):
    await house.only("agent_offline")
    await house.listen_since()
    await silent(house, a=300, b=300, c=301)
    await house.cycle()
    await silent(house, a=0)

    await house.cycle()
    await house.cycle()

    assert await house.changes() == ["fired", "resolved"]
    assert [server for _, server, _, _ in await house.alerts()] == [None]


async def test_while_nobody_listened_nobody_was_silent(house):
    await house.only("agent_offline")
    await silent(house, web=3600)

    await house.cycle()
    await house.cycle()

    assert await house.alerts() == []


async def test_missing_samples_say_nothing_right_after_an_outage(firing):
    await firing.listen_since(timedelta(seconds=10))
    await age_samples(firing, 120)

    await firing.cycle()

    assert await firing.alerts() == [("cpu_usage", "web", "firing", "warning")]


async def test_every_cycle_leaves_a_heartbeat(house):
    await house.cycle()

    beat = await house.connection.fetchval(
        "SELECT now() - (value ->> 'time')::timestamptz FROM setting WHERE key = $1",
        records.HEARTBEAT,
    )
    assert beat < timedelta(seconds=5)


async def test_only_the_channels_of_a_rule_are_told(house):
    server_id = await house.add_server("web")
    await house.only("cpu_usage")
    await house.set_rule("cpu_usage", levels=RULE, channels=["ops"])
    await house.connection.execute(
        "INSERT INTO channel (name, kind, enabled) VALUES ('ops', 'email', true),"
        " ('chat', 'discord', true), ('old', 'email', false)"
    )
    await house.add_cpu(server_id, BREACH)

    await house.cycle()

    rows = await house.connection.fetch("SELECT channel FROM notification")
    assert [row["channel"] for row in rows] == ["ops"]


async def test_all_seeded_rules_are_there_and_can_be_read(house):
    valid, invalid = await records.load_rules(house.connection)

    assert invalid == {}
    assert {rule.name for rule in valid} == {
        *("cpu_usage", "load", "memory_usage", "swap_usage", "memory_available", "disk_usage"),
        *("inodes_usage", "disk_await", "network_utilization", "packet_loss", "time_wait"),
        *("agent_offline", "agent_send_failures"),
    }


async def test_seeding_again_adds_what_is_missing_and_leaves_the_edited_alone(house):
    seeded = importlib.import_module("migrations.versions.0005_create_alerting").SEEDED
    await house.connection.execute("DELETE FROM alert_rule WHERE name = 'load'")
    await house.set_rule("cpu_usage", levels=RULE)

    added = await house.connection.fetchval(
        "SELECT hostpulse_internal.seed_alert_rules($1)", seeded
    )

    assert added == 1
    levels = await house.connection.fetchval(
        "SELECT levels FROM alert_rule WHERE name = 'cpu_usage'"
    )
    assert levels == RULE
