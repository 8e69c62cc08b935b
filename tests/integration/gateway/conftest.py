"""A gateway in this process, on free ports, and a client that speaks bytes and messages."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import pytest

from api.app import create
from collector_gateway.app import Gateway
from collector_gateway.settings import GatewaySettings
from hostpulse.v1 import telemetry_pb2 as pb
from storage import database as storage_database
from storage import keys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

STREAM = "/hostpulse.v1.TelemetryService/Stream"


class Agent:
    """One stream, driven message by message."""

    def __init__(self, call, epoch: int) -> None:
        self.call = call
        self.epoch = epoch
        self.boot_id = uuid.uuid4().bytes

    async def send(self, request: pb.StreamRequest) -> None:
        await self.call.write(request.SerializeToString())

    async def receive(self) -> pb.StreamResponse:
        async with asyncio.timeout(10):
            data = await self.call.read()
        assert data is not grpc.aio.EOF, await self.call.details()
        return pb.StreamResponse.FromString(data)

    async def ack(self) -> pb.BatchAck:
        response = await self.receive()
        assert response.WhichOneof("message") == "ack", response
        return response.ack

    async def hello(self, name: str = "a", **fields) -> pb.Welcome:
        fields = {"machine_id": "m1", "boot_id": self.boot_id, "agent_version": "1"} | fields
        await self.send(
            pb.StreamRequest(
                hello=pb.Hello(
                    server_name=name,
                    epoch=self.epoch,
                    time_unix_ns=time.time_ns(),
                    monotonic_ns=time.monotonic_ns(),
                    intervals=[pb.FamilyInterval(family=pb.FAMILY_CPU, interval_s=10)],
                    **fields,
                )
            )
        )
        response = await self.receive()
        assert response.WhichOneof("message") == "welcome", response
        return response.welcome

    def batch(self, seq: int, **families) -> pb.MetricBatch:
        if not families:
            families = {"cpu": pb.CpuSample(usage_percent=seq % 100)}
        return pb.MetricBatch(
            epoch=self.epoch,
            seq=seq,
            lane=pb.LANE_LIVE,
            time_unix_ns=time.time_ns(),
            boot_id=self.boot_id,
            monotonic_ns=time.monotonic_ns(),
            sent_monotonic_ns=time.monotonic_ns(),
            **families,
        )

    async def send_batch(self, seq: int, **families) -> None:
        await self.send(pb.StreamRequest(batch=self.batch(seq, **families)))

    async def status(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(10):
            return await self.call.code(), await self.call.details()


class Harness:
    """A running gateway, its keys, and how to open streams to it."""

    def __init__(self, gateway: Gateway, admin_key: str) -> None:
        self.gateway = gateway
        self.admin_key = admin_key

    @asynccontextmanager
    async def stream(self, *, key: str | None = None, epoch: int = 5) -> AsyncGenerator[Agent]:
        address = f"127.0.0.1:{self.gateway.grpc_port}"
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own, as agents have
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            call = channel.stream_stream(STREAM)(
                metadata=(("authorization", f"Bearer {key or self.admin_key}"),)
            )
            yield Agent(call, epoch)
            call.cancel()


@asynccontextmanager
async def running_gateway(dsn: str, admin_key: str, **more: object) -> AsyncGenerator[Harness]:
    """Run a gateway until the block ends; its failure is the test's."""
    settings = GatewaySettings(
        database_url=dsn, grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0", **more
    )
    gateway = Gateway(settings, create)
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    async with asyncio.timeout(10):
        while not (gateway.grpc_port and gateway.http_port):
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
    try:
        yield Harness(gateway, admin_key)
    finally:
        stop.set()
        async with asyncio.timeout(15):
            await running


@pytest.fixture
async def admin_key(connection: storage_database.Connection) -> str:
    return await keys.create(
        connection, role=keys.Role.ADMIN, server_names=[], note=None, created_by="test"
    )


@pytest.fixture
async def harness(database: str, admin_key: str) -> AsyncGenerator[Harness]:
    async with running_gateway(database, admin_key) as running:
        yield running


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)
