from __future__ import annotations

import asyncio
import logging
import socket

import grpc
import pytest

from agent import uplink
from agent.session import Timeouts
from hostpulse.v1 import telemetry_pb2
from tests.uplink_runner import PATIENCE_S, Agent, silence, welcome_and_ack


async def test_hello_says_who_the_agent_is_and_how_far_its_epoch_got(serve):
    async with serve(welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect(3)

        async with agent.running():
            await agent.settled()

        hello = gateway.conversations[0].received[0].hello
        assert (hello.server_name, hello.machine_id) == ("web-1", "m1")
        assert [(each.epoch, each.last_seq) for each in hello.epochs] == [(hello.epoch, 3)]
        assert [each.interval_s for each in hello.intervals] == [10.0]
        assert hello.capabilities == [
            telemetry_pb2.CAPABILITY_BACKFILL,
            telemetry_pb2.CAPABILITY_CONFIG_PUSH,
        ]
        assert gateway.conversations[0].metadata["authorization"] == "Bearer secret-key"


async def test_an_agent_that_starts_before_its_gateway_delivers_when_it_comes(serve, caplog):
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
    agent = Agent(port)
    agent.collect()

    with caplog.at_level(logging.WARNING):
        async with agent.running():
            async with asyncio.timeout(PATIENCE_S):
                await agent.tried_often.wait()
            assert agent.uplink.failing
            async with serve(welcome_and_ack, port=port):
                await agent.settled()
                assert not agent.uplink.failing

    failures = [each for each in caplog.records if each.getMessage() == "stream_failed"]
    assert len(failures) == len({each.error for each in failures}), "the same failure is no news"


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED]
)
async def test_a_refused_agent_retries_slowly_and_says_so(serve, caplog, code):
    async def refuse(conversation):
        await conversation.read()
        await conversation.abort(code, "key is revoked")

    async with serve(refuse, welcome_and_ack) as (_gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert agent.policies[0] is uplink.REFUSED
    assert uplink.REFUSED.minimum_s >= 30
    assert f"{code.name}: key is revoked" in [getattr(each, "error", "") for each in caplog.records]


async def test_drain_is_honoured_after_outstanding_acks_and_before_new_batches(serve):
    drained = asyncio.Event()

    async def drain(conversation):
        await conversation.welcome()
        batch = await conversation.read_batch()
        await conversation.say(drain=telemetry_pb2.Drain(reconnect_after_s=0.01))
        drained.set()
        await conversation.ack(batch)
        assert await conversation.read() is None

    async with serve(drain, welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await drained.wait()
            await gateway.ended(1)
            agent.collect()
            await agent.settled()

        assert [each.batch.seq for each in gateway.conversations[0].received if each.batch.seq] == [
            1
        ]
        assert agent.counters.failed_sends == 0


@pytest.mark.parametrize(
    ("pushback", "asked_s"),
    [("1500", 1.51), ("0", 0.01), ("-1", 0.01), ("soon", 0.01), ("9" * 5000, 0.01)],
)
async def test_a_gateway_that_refuses_a_stream_says_when_to_come_again(serve, pushback, asked_s):
    async def refuse(conversation):
        await conversation.read()
        await conversation.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", grpc_retry_pushback_ms=pushback
        )

    async with serve(refuse, welcome_and_ack) as (_, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert agent.pauses_s[0] == pytest.approx(asked_s)


async def test_where_there_is_another_gateway_nobody_waits_for_the_one_that_refused(serve):
    async def refuse(conversation):
        await conversation.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", grpc_retry_pushback_ms="300000"
        )

    async with serve(refuse) as (_, busy_port), serve(welcome_and_ack) as (_, port):
        agent = Agent(busy_port, port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert max(agent.pauses_s) < 300


async def test_a_stream_that_breaks_after_its_drain_is_no_failure(serve, caplog):
    async def drain_and_break(conversation):
        await conversation.welcome()
        await conversation.read_batch()
        await conversation.say(drain=telemetry_pb2.Drain())
        await conversation.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    async with serve(drain_and_break, welcome_and_ack) as (_, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert "stream_failed" not in caplog.messages
    assert agent.counters.failed_sends == 1


async def test_a_gateway_that_never_says_welcome_is_left_for_the_next_one(serve):
    async with serve(silence) as (mute, mute_port), serve(welcome_and_ack) as (_, port):
        agent = Agent(mute_port, port, timeouts=Timeouts(welcome_s=0.2))
        agent.collect()

        async with agent.running():
            await agent.settled()

        assert len(mute.conversations) == 1


async def test_verdicts_that_stay_away_end_the_stream(serve):
    async def take_without_verdict(conversation):
        await conversation.welcome()
        await silence(conversation)

    async with serve(take_without_verdict, welcome_and_ack) as (gateway, port):
        agent = Agent(port, timeouts=Timeouts(verdict_s=0.2))
        agent.collect()

        async with agent.running():
            await agent.settled()

        assert len(gateway.conversations) == 2


async def test_an_agent_with_nothing_to_send_says_that_it_lives(serve):
    heard = asyncio.Event()

    async def listen(conversation):
        await conversation.welcome()
        while request := await conversation.read():
            if request.HasField("heartbeat") and request.heartbeat.time_unix_ns:
                heard.set()

    async with serve(listen) as (_, port):
        agent = Agent(port, timeouts=Timeouts(heartbeat_s=0.05))

        async with agent.running(), asyncio.timeout(PATIENCE_S):
            await heard.wait()


async def test_every_pushed_config_is_answered_and_the_next_hello_tells_what_is_in_force(serve):
    answers = []
    hellos = []
    answered = asyncio.Event()
    five = telemetry_pb2.FamilyInterval(family=telemetry_pb2.FAMILY_CPU, interval_s=5.0)
    four = telemetry_pb2.FamilyInterval(family=telemetry_pb2.FAMILY_CPU, interval_s=4.0)

    async def push(conversation):
        hellos.append(
            await conversation.welcome(
                config=telemetry_pb2.AgentConfig(revision=6, max_samples_per_batch=20)
            )
        )
        await conversation.say(config=telemetry_pb2.AgentConfig(revision=7, intervals=[five]))
        await conversation.say(config=telemetry_pb2.AgentConfig(revision=8, intervals=[four]))
        while len(answers) < 3 and (request := await conversation.read()):
            if request.HasField("config_result"):
                answers.append(request.config_result)

    async def listen(conversation):
        hellos.append(await conversation.welcome())
        answered.set()
        await conversation.ack_everything()

    async with serve(push, listen) as (_, port):
        agent = Agent(port)

        async with agent.running(), asyncio.timeout(PATIENCE_S):
            await answered.wait()

    assert [(each.revision, each.status) for each in answers] == [
        (6, telemetry_pb2.CONFIG_STATUS_APPLIED),
        (7, telemetry_pb2.CONFIG_STATUS_APPLIED),
        (8, telemetry_pb2.CONFIG_STATUS_REJECTED),
    ]
    assert [list(each.intervals) for each in answers[1:]] == [[five], [five]]
    assert "cpu_interval_s must be between 5 and 60 seconds, got 4.0" in answers[2].detail
    assert telemetry_pb2.CAPABILITY_CONFIG_PUSH in hellos[0].capabilities
    assert [(each.config_revision, list(each.intervals)) for each in hellos[1:]] == [(7, [five])]
