from __future__ import annotations

import math

import grpc
import pytest

from hostpulse.v1 import telemetry_pb2 as pb
from storage import keys


@pytest.mark.parametrize(
    ("first", "code"),
    [
        pytest.param(b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, id="garbage"),
        pytest.param(
            pb.StreamRequest(heartbeat=pb.Heartbeat()).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            id="not Hello",
        ),
        pytest.param(
            pb.StreamRequest(hello=pb.Hello(server_name="", epoch=1)).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            id="no name",
        ),
        pytest.param(
            pb.StreamRequest(
                hello=pb.Hello(server_name="a", machine_id="m", epoch=0)
            ).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            id="epoch 0",
        ),
        pytest.param(
            pb.StreamRequest(
                hello=pb.Hello(
                    server_name="a",
                    machine_id="m",
                    epoch=1,
                    intervals=[pb.FamilyInterval(family=pb.FAMILY_CPU, interval_s=math.nan)],
                )
            ).SerializeToString(),
            grpc.StatusCode.INVALID_ARGUMENT,
            id="interval",
        ),
    ],
)
async def test_a_bad_hello_is_refused_with_a_reason(harness, first, code):
    async with harness.stream() as agent:
        await agent.call.write(first)
        found, detail = await agent.status()

    assert found == code
    assert "expected" in detail or "must be" in detail


async def test_a_name_that_is_too_long_is_refused_before_it_is_written_anywhere(
    harness, connection
):
    key = await keys.create(
        connection, role=keys.Role.AGENT, server_names=["mine"], created_by="test"
    )
    for size in (254, 3_000_000):
        async with harness.stream(key=key) as agent:
            await agent.send(
                pb.StreamRequest(hello=pb.Hello(server_name="x" * size, machine_id="m", epoch=1))
            )
            found, detail = await agent.status()
        assert found == grpc.StatusCode.INVALID_ARGUMENT
        assert detail.startswith("hello")
        assert len(detail) < 200
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE NOT allowed") == 0


@pytest.mark.parametrize("key", ["hp_nonsense", "x", "hp_" + "a" * 8 + "_" + "b" * 43])
async def test_a_wrong_key_is_unauthenticated(harness, key):
    async with harness.stream(key=key) as agent:
        assert (await agent.status())[0] == grpc.StatusCode.UNAUTHENTICATED


async def test_an_agent_key_opens_its_own_server_only(harness, connection):
    key = await keys.create(
        connection, role=keys.Role.AGENT, server_names=["mine"], note=None, created_by="test"
    )
    async with harness.stream(key=key) as agent:
        await agent.hello("mine")
    async with harness.stream(key=key) as agent:
        await agent.send(
            pb.StreamRequest(hello=pb.Hello(server_name="other", machine_id="m", epoch=1))
        )
        assert (await agent.status())[0] == grpc.StatusCode.PERMISSION_DENIED

    row = await connection.fetchrow("SELECT action, object, allowed FROM audit WHERE NOT allowed")
    assert tuple(row) == ("stream.open", "other", False)


async def test_another_machine_under_the_same_name_is_refused_and_audited(harness, connection):
    async with harness.stream() as agent:
        await agent.hello("a")
        async with harness.stream() as clone:
            await clone.send(
                pb.StreamRequest(hello=pb.Hello(server_name="a", machine_id="m2", epoch=9))
            )
            code, detail = await clone.status()
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert "server forget" in detail
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE NOT allowed") == 1


async def test_a_newer_stream_of_a_server_ends_the_older(harness):
    async with harness.stream() as old, harness.stream() as new:
        await old.hello()
        await new.hello()
        assert (await old.status())[0] == grpc.StatusCode.ABORTED
        await new.send_batch(1)
        assert (await new.ack()).status == pb.BATCH_STATUS_COMMITTED


async def test_a_stream_that_another_gateway_took_over_is_fenced(harness, database, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await connection.execute("UPDATE server SET session = gen_random_uuid()")
        await agent.send_batch(1)
        assert (await agent.status())[0] == grpc.StatusCode.ABORTED

    assert await connection.fetchval("SELECT count(*) FROM cpu") == 0
