"""What a stream leaves behind when it ends: nothing that only a full collection would find."""

from __future__ import annotations

import asyncio
import gc
import types
from collections import Counter

import grpc
import pytest

from hostpulse.v1 import telemetry_pb2 as pb
from storage import keys

OURS = ("collector_gateway.", "hostpulse.", "storage.")
STREAMS = 5


def ours(garbage):
    """Count what of it the gateway has made: its objects, and the frames of its functions."""
    found = Counter()
    for each in garbage:
        if isinstance(each, types.FrameType):
            module = each.f_globals.get("__name__", "")
            name = f"frame {each.f_code.co_qualname}"
        else:
            module, name = type(each).__module__, type(each).__name__
        if module.startswith(OURS):
            found[name] += 1
    return found


async def say_goodbye(agent):
    await agent.send(pb.StreamRequest(goodbye=pb.Goodbye()))
    await agent.call.done_writing()
    await agent.status()


async def break_off(agent):
    agent.call.cancel()


async def send_garbage(agent):
    await agent.call.write(b"\xff\xff\xff")
    assert (await agent.status())[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("leave", [say_goodbye, break_off, send_garbage])
async def test_a_stream_that_has_ended_leaves_no_cycles(harness, leave):
    async def once(epoch):
        async with harness.stream(epoch=epoch) as agent:
            await agent.hello()
            await agent.send_batch(1)
            await agent.ack()
            await leave(agent)
        while harness.gateway.metrics.registry.get_sample_value("hostpulse_sessions"):
            await asyncio.sleep(0.01)

    assert not await left_by(once)


async def test_a_stream_that_is_refused_leaves_no_cycles(harness):
    async def once(_epoch):
        async with harness.stream(key=keys.generate()) as agent:
            assert (await agent.status())[0] is grpc.StatusCode.UNAUTHENTICATED

    assert not await left_by(once)


async def left_by(once):
    """Do something a few times; return what of the gateway's only the collector has found."""
    await once(1)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for epoch in range(2, 2 + STREAMS):
            await once(epoch)
        await asyncio.sleep(0.1)  # what grpc still holds of the last call
        gc.collect()
        return ours(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
