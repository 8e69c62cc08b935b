from __future__ import annotations

import asyncio

from agent.session import Timeouts
from hostpulse.v1 import telemetry_pb2
from tests.uplink_runner import Agent, silence


async def test_stopping_waits_for_outstanding_acks_and_says_goodbye(serve):
    sent, stopping = asyncio.Event(), asyncio.Event()

    async def ack_late(conversation):
        await conversation.welcome()
        batch = await conversation.read_batch()
        sent.set()
        await stopping.wait()
        await conversation.ack(batch)
        await conversation.ack_everything()

    async with serve(ack_late) as (gateway, port):
        agent = Agent(port, timeouts=Timeouts())
        agent.collect()

        async with agent.running():
            await sent.wait()
            agent.stop.set()
            stopping.set()
        await gateway.ended(1)

        assert agent.buffer.stats().batches == 0
        last = gateway.conversations[0].received[-1]
        assert last.goodbye.reason == telemetry_pb2.GOODBYE_REASON_SHUTDOWN


async def test_stopping_is_bounded_when_acks_never_come(serve):
    sent = asyncio.Event()

    async def never_ack(conversation):
        await conversation.welcome()
        await conversation.read_batch()
        sent.set()
        await silence(conversation)

    async with serve(never_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running() as task:
            await sent.wait()
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task
        await gateway.ended(1)

        assert gateway.conversations[0].received[-1].HasField("goodbye")
        assert agent.buffer.stats().batches == 1


async def test_stopping_is_bounded_when_the_gateway_does_not_read(serve):
    welcomed, over = asyncio.Event(), asyncio.Event()

    async def stop_reading(conversation):
        await conversation.welcome()
        welcomed.set()
        await over.wait()

    async with serve(stop_reading) as (_, port):
        agent = Agent(port)
        agent.collect(8, padding=190_000)

        async with agent.running() as task:
            await welcomed.wait()
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task
        over.set()

        assert agent.buffer.stats().batches == 8


async def test_stopping_is_immediate_while_there_is_no_welcome(serve):
    async with serve(silence) as (gateway, port):
        agent = Agent(port)

        async with agent.running() as task:
            await gateway.streams(1)
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task
