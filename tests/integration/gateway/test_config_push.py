"""Config over real streams: pushed at a change, told at Welcome, answered, and survived."""

from __future__ import annotations

import asyncio
import time

import pytest

from collector_gateway import config_push
from hostpulse.v1 import telemetry_pb2 as pb
from storage import config_scopes, configs, labelling, server_configs
from tests.integration.gateway.conftest import running_gateway

ABLE = {"capabilities": [pb.CAPABILITY_CONFIG_PUSH]}
PUSHED_WITHIN_S = 1.0


async def set_fields(connection, fields, scope="all", **more):
    return await configs.change(
        connection, config_scopes.parse(scope), lambda _: fields, author="ann", **more
    )


async def pushed(agent) -> pb.AgentConfig:
    response = await agent.receive()
    assert response.WhichOneof("message") == "config", response
    return response.config


async def answer(agent, revision, *, status=pb.CONFIG_STATUS_APPLIED, detail="", cpu_s=10.0):
    intervals = [pb.FamilyInterval(family=pb.FAMILY_CPU, interval_s=cpu_s)]
    await agent.send(
        pb.StreamRequest(
            config_result=pb.ConfigResult(
                revision=revision, status=status, detail=detail, intervals=intervals
            )
        )
    )


async def until(connection, sql, expected):
    async with asyncio.timeout(10):
        while (found := await connection.fetchval(sql)) != expected:
            await asyncio.sleep(0.02)
    return found


async def test_a_change_reaches_an_open_stream_within_a_second(harness, connection):
    async with harness.stream() as agent:
        welcome = await agent.hello(**ABLE)
        assert not welcome.HasField("config")
        assert pb.CAPABILITY_CONFIG_PUSH in welcome.capabilities

        begun = time.monotonic()
        made = await set_fields(connection, {"interval_s": 5, "process_enabled": False})
        config = await pushed(agent)
        took_s = time.monotonic() - begun

    assert config.revision == made.revision == 1
    assert {each.family: each.interval_s for each in config.intervals} == {
        number: 5.0
        for name, number in pb.Family.items()
        if name.removeprefix("FAMILY_").lower()
        in {"cpu", "memory", "disk_io", "network", "tcp", "process", "pressure", "agent_health"}
    }
    assert list(config.disabled_families) == [pb.FAMILY_PROCESS]
    assert took_s < PUSHED_WITHIN_S


async def test_an_agent_that_was_away_gets_it_at_welcome(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await until(connection, "SELECT count(*) FROM server_config", 1)
    await set_fields(connection, {"process_top_n": 3})

    async with harness.stream(epoch=6) as agent:
        welcome = await agent.hello(**ABLE)

    assert (welcome.config.revision, welcome.config.process_top_n) == (1, 3)


async def test_a_new_server_gets_what_was_set_before_it_came(harness, connection):
    await set_fields(connection, {"process_top_n": 3})

    async with harness.stream() as agent:
        welcome = await agent.hello("new", **ABLE)
        assert not welcome.HasField("config")
        config = await pushed(agent)

    assert (config.revision, config.process_top_n) == (1, 3)


async def test_the_answer_is_written_as_an_event_with_the_intervals_in_force(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await set_fields(connection, {"cpu_interval_s": 5})
        config = await pushed(agent)
        await answer(agent, config.revision, cpu_s=5.0)
        await until(connection, "SELECT applied FROM server_config", True)

    state = await server_configs.state(connection, "a")
    assert (state.revision, state.running, state.status) == (1, 1, "applied")
    rows = await connection.fetch("SELECT family, interval_s FROM family_interval")
    assert [tuple(row) for row in rows] == [("cpu", 5.0)]
    rows = await connection.fetch("SELECT kind, detail FROM event")
    assert [tuple(row) for row in rows] == [("config_applied", {"revision": 1})]


async def test_a_rejected_revision_is_told_with_its_reason_and_harms_nothing(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await set_fields(connection, {"process_top_n": 3})
        await pushed(agent)
        await answer(agent, 1)
        await set_fields(connection, {"process_top_n": 4})
        await pushed(agent)
        await answer(agent, 2, status=pb.CONFIG_STATUS_REJECTED, detail="process_top_n must be 3")
        await until(connection, "SELECT applied FROM server_config", False)
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

        state = await server_configs.state(connection, "a")
        assert (state.revision, state.running) == (2, 1)
        assert (state.status, state.detail) == ("rejected", "process_top_n must be 3")

        await configs.rollback(connection, config_scopes.Scope(), author="bob")
        config = await pushed(agent)
        assert (config.revision, config.process_top_n) == (3, 3)


async def test_every_gateway_hears_of_a_change(harness, database, admin_key, connection):
    async with (
        running_gateway(database, admin_key) as other,
        harness.stream() as here,
        other.stream() as there,
    ):
        await here.hello("here", **ABLE)
        await there.hello("there", **ABLE)
        begun = time.monotonic()
        await set_fields(connection, {"interval_s": 7})
        assert (await pushed(here)).revision == (await pushed(there)).revision == 1
        assert time.monotonic() - begun < PUSHED_WITHIN_S


async def test_a_label_changes_what_is_pushed(harness, connection):
    await set_fields(connection, {"process_top_n": 3}, "labels:env=prod", priority=1)
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await until(connection, "SELECT count(*) FROM server_config", 1)

        await labelling.label(connection, "a", {"env": "prod"}, labelled_by="ann")
        config = await pushed(agent)
        assert config.process_top_n == 3

        await labelling.label(connection, "a", {"env": None}, labelled_by="ann")
        later = await pushed(agent)
        assert later.revision > config.revision
        assert not later.HasField("process_top_n")


async def test_only_the_servers_that_are_meant_are_told(harness, connection):
    async with harness.stream() as one, harness.stream() as other:
        await one.hello("one", **ABLE)
        await other.hello("other", **ABLE)
        await set_fields(connection, {"process_top_n": 3}, "server:other")
        assert (await pushed(other)).process_top_n == 3

        await set_fields(connection, {"process_top_n": 4}, "server:one")
        assert (await pushed(one)).revision == 2


async def test_an_agent_that_can_not_is_left_alone(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await set_fields(connection, {"process_top_n": 3})
        await until(connection, "SELECT revision FROM server_config", 1)
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED


async def test_an_agent_with_the_config_of_another_database_goes_back(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(config_revision=2**64 - 1, **ABLE)
        config = await pushed(agent)

    assert config == pb.AgentConfig()


async def test_a_lost_notification_is_made_up_for(harness, connection, monkeypatch):
    monkeypatch.setattr(config_push, "CHECK_INTERVAL_S", 0.2)
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await until(connection, "SELECT count(*) FROM server_config", 1)
        await set_fields(connection, {"process_top_n": 3})
        await pushed(agent)  # from now on it waits for no longer than that

        await connection.execute(
            "UPDATE server_config SET revision = 9, fields = '{\"process_top_n\": 9}'"
        )

        assert (await pushed(agent)).process_top_n == 9


async def test_a_connection_that_is_cut_is_made_again(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await until(connection, "SELECT count(*) FROM server_config", 1)
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        cut += " WHERE application_name = 'hostpulse config' AND datname = current_database()"
        assert await connection.fetchval(cut) == 1

        await set_fields(connection, {"process_top_n": 3})

        assert (await pushed(agent)).process_top_n == 3


async def test_an_answer_of_a_stream_that_lost_its_server_does_not_count(harness, connection):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        await until(connection, "SELECT count(*) FROM server_config", 1)
        await connection.execute("UPDATE server SET session = gen_random_uuid()")
        await answer(agent, 1)
        await set_fields(connection, {"process_top_n": 3})
        await pushed(agent)

        assert await connection.fetchval("SELECT result_revision FROM server_config") is None


@pytest.mark.parametrize("revision", [0, 1, 2**64 - 1])
async def test_any_answer_is_survived(harness, connection, revision):
    async with harness.stream() as agent:
        await agent.hello(**ABLE)
        for status in (0, 1, 2, 9):
            await answer(agent, revision, status=status, detail="\0" * 2000, cpu_s=float("nan"))
        await set_fields(connection, {"process_top_n": 3})
        await pushed(agent)
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED
