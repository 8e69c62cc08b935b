"""An abuser goes no faster than its limits, is told when to come again, and shuts nobody out."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import grpc
import httpx
import pytest

from collector_gateway import holding, limits, logins
from collector_gateway.buckets import Rate
from hostpulse.v1 import telemetry_pb2 as pb
from storage import keys
from tests.integration.gateway.conftest import running_gateway

BYTES_PER_S = 4096.0
BURST_BYTES = BYTES_PER_S * limits.BURST_S
ROWS = 250  # of a batch: 8 000 bytes by weight
MANY = 2500  # more than a batch may have, and more than comes at once


@pytest.fixture
async def slow(database, admin_key):
    """A gateway that gives a server 4 KiB a second, and an HTTP key one request."""
    async with running_gateway(
        database, admin_key, server_bytes_per_s=BYTES_PER_S, http_requests_per_s=1.0
    ) as running:
        yield running


@asynccontextmanager
async def http(harness, key):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{harness.gateway.http_port}", headers={"X-API-Key": key}
    ) as client:
        yield client


async def test_a_stream_is_read_no_faster_than_the_rate_of_its_server(slow):
    disks = [pb.DiskIoSample(device="a")] * ROWS
    weight = limits.weigh(0, ROWS)
    batches = int(BURST_BYTES // weight) + 2
    begun = time.monotonic()
    async with slow.stream() as abuser:
        await abuser.hello("abuser")
        for seq in range(1, batches + 1):
            await abuser.send_batch(seq, disk_io=disks)
        for _ in range(batches):
            assert (await abuser.ack()).status == pb.BATCH_STATUS_COMMITTED

    took_s = time.monotonic() - begun
    assert took_s >= (batches * weight - BURST_BYTES) / BYTES_PER_S - 0.1


async def test_a_good_stream_does_not_wait_for_one_that_is_held_back(slow):
    disks = [pb.DiskIoSample(device="a")] * MANY
    async with slow.stream() as abuser, slow.stream(epoch=6) as good:
        await abuser.hello("abuser")
        await abuser.send_batch(1, disk_io=disks)  # 78 KiB by weight: held back for 10 s
        await good.hello("good", machine_id="m2")
        begun = time.monotonic()
        await good.send_batch(1)
        await good.ack()

        assert time.monotonic() - begun < 5


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(slow):
    async with http(slow, slow.admin_key) as client:
        answers = [await client.get("/api/v1/servers") for _ in range(15)]

    refused = [each for each in answers if each.status_code == 429]
    assert answers[0].status_code == 200
    assert refused
    assert all(int(each.headers["Retry-After"]) >= 1 for each in refused)


async def test_who_streams_too_much_can_not_post_the_rest(slow):
    async with slow.stream() as abuser, http(slow, slow.admin_key) as client:
        await abuser.hello("abuser")
        await abuser.send_batch(1, disk_io=[pb.DiskIoSample(device="a")] * MANY)

        async def posted(name):
            return await client.post(
                "/api/v1/metrics",
                json={
                    "server_id": name,
                    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "metrics": {"cpu": {"usage_percent": 1}},
                },
            )

        counted = slow.gateway.metrics.registry.get_sample_value
        async with asyncio.timeout(10):
            while (counted("hostpulse_received_bytes_total") or 0) < MANY:
                await asyncio.sleep(0.01)
        other, own = await posted("other"), await posted("abuser")

    assert other.status_code == 202
    assert own.status_code == 429
    assert int(own.headers["Retry-After"]) >= 1


async def test_streams_that_open_too_often_are_told_when_to_come_again(harness, monkeypatch):
    for epoch in range(1, int(limits.STREAMS_OF_SERVER.burst) + 1):
        async with harness.stream(epoch=epoch) as agent:
            await agent.hello("flapping")
    async with harness.stream() as agent:
        with pytest.raises((AssertionError, grpc.aio.AioRpcError)):
            await agent.hello("flapping")

        assert await agent.call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(await agent.call.trailing_metadata())
    assert 0 < int(trailing["grpc-retry-pushback-ms"]) <= 1000 / limits.STREAMS_OF_SERVER.per_s


async def test_a_known_key_passes_where_its_address_has_failed_too_often(
    database, admin_key, connection, monkeypatch
):
    monkeypatch.setattr(logins, "FAILED_LOGINS", Rate(per_s=0.01, burst=3))
    unknown = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    async with running_gateway(database, admin_key) as harness:
        async with harness.stream() as agent:
            await agent.hello("good")
        for _ in range(3):
            async with harness.stream(key=keys.generate()) as agent:
                assert (await agent.status())[0] is grpc.StatusCode.UNAUTHENTICATED

        async with harness.stream(key=unknown) as agent:
            assert (await agent.status())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with http(harness, unknown) as client:
            assert (await client.get("/api/v1/servers")).status_code == 429
        async with http(harness, admin_key) as client:
            assert (await client.get("/api/v1/servers")).status_code == 200
        async with harness.stream(epoch=6) as agent:
            await agent.hello("good")


async def test_a_key_has_a_few_requests_at_once_and_the_others_wait(harness):
    async with http(harness, harness.admin_key) as client:
        answers = await asyncio.gather(*(client.get("/api/v1/servers") for _ in range(20)))

    assert {each.status_code for each in answers} == {200}


async def test_who_is_refused_hears_it_a_second_later(slow):
    async with http(slow, slow.admin_key) as client:
        while (refused := await client.get("/api/v1/servers")).status_code == 200:
            pass

    assert refused.status_code == 429
    assert refused.elapsed.total_seconds() >= holding.HOLD_S


async def test_of_wrong_keys_at_once_no_more_pass_than_may_fail(database, admin_key, monkeypatch):
    monkeypatch.setattr(logins, "FAILED_LOGINS", Rate(per_s=0.01, burst=5))
    async with running_gateway(database, admin_key) as harness:

        async def knock() -> grpc.StatusCode:
            async with harness.stream(key=keys.generate()) as agent:
                return (await agent.status())[0]

        async def ask() -> int:
            async with http(harness, keys.generate()) as client:
                return (await client.get("/api/v1/servers")).status_code

        codes = await asyncio.gather(*(knock() for _ in range(25)), *(ask() for _ in range(25)))

    assert sum(each in {grpc.StatusCode.UNAUTHENTICATED, 401} for each in codes) == 5
    assert set(codes) <= {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        401,
        429,
    }


@pytest.mark.parametrize("trusted", [None, "127.0.0.1"], ids=["nobody", "a proxy"])
async def test_limits_count_for_the_address_behind_a_proxy_that_is_trusted(
    database, admin_key, monkeypatch, trusted
):
    monkeypatch.setattr(logins, "FAILED_LOGINS", Rate(per_s=0.01, burst=2))
    async with running_gateway(database, admin_key, trusted_proxies=trusted) as harness:

        async def knock(address: str) -> int:
            async with http(harness, keys.generate()) as client:
                headers = {"X-Forwarded-For": address}
                return (await client.get("/api/v1/servers", headers=headers)).status_code

        spread = [await knock(f"10.0.0.{n}") for n in range(4)]
        same = [await knock("10.0.1.1") for _ in range(3)]

    assert spread == ([401] * 4 if trusted else [401, 401, 429, 429])
    assert same == ([401, 401, 429] if trusted else [429] * 3)
