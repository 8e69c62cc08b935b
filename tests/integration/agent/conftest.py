from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio
import pytest

from hostpulse.v1 import telemetry_pb2, telemetry_pb2_grpc

PATIENCE_S = 10.0  # the longest that a test waits for something that should happen


class Conversation:
    """The gateway's end of one stream, moved by the test."""

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context
        self.received: list[telemetry_pb2.StreamRequest] = []

    async def read(self) -> telemetry_pb2.StreamRequest | None:
        """The next request; None when the agent has ended its side or is gone."""
        request = await self._context.read()
        if request is grpc.aio.EOF:
            return None
        self.received.append(request)
        return request

    async def read_batch(self) -> telemetry_pb2.MetricBatch:
        while (request := await self.read()) is not None:
            if request.HasField("batch"):
                return request.batch
        raise AssertionError("the agent ended the stream instead of sending a batch")

    async def say(self, **message: object) -> None:
        await self._context.write(telemetry_pb2.StreamResponse(**message))

    async def ack(
        self,
        batch: telemetry_pb2.MetricBatch,
        status: telemetry_pb2.BatchStatus = telemetry_pb2.BATCH_STATUS_COMMITTED,
        **more: object,
    ) -> None:
        await self.say(
            ack=telemetry_pb2.BatchAck(epoch=batch.epoch, seq=batch.seq, status=status, **more)
        )

    async def welcome(self, **fields: object) -> telemetry_pb2.Hello:
        """Read Hello and answer it."""
        request = await self.read()
        assert request is not None
        assert request.HasField("hello")
        await self.say(welcome=telemetry_pb2.Welcome(**fields))
        return request.hello

    async def ack_everything(self) -> None:
        """Take what comes until the agent ends the stream."""
        while (request := await self.read()) is not None:
            if request.HasField("batch"):
                await self.ack(request.batch)

    async def abort(self, code: grpc.StatusCode, details: str, **trailing: str) -> None:
        metadata = tuple((name.replace("_", "-"), value) for name, value in trailing.items())
        await self._context.abort(code, details, metadata)

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self._context.invocation_metadata() or ())


Script = Callable[[Conversation], Awaitable[None]]


class ScriptedGateway(telemetry_pb2_grpc.TelemetryServiceServicer):
    """A real gRPC server that does with each stream what the next script says; the last repeats."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._arrived = asyncio.Condition()
        self.conversations: list[Conversation] = []
        self._ended = 0

    async def Stream(self, _requests: object, context: grpc.aio.ServicerContext) -> None:
        conversation = Conversation(context)
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        async with self._arrived:
            self.conversations.append(conversation)
            self._arrived.notify_all()
        try:
            await script(conversation)
        finally:
            self._ended += 1
            async with self._arrived:
                self._arrived.notify_all()

    async def streams(self, count: int) -> None:
        """Wait until so many streams have begun."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.conversations) >= count)

    async def ended(self, count: int) -> None:
        """Wait until so many scripts are over."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: self._ended >= count)


@contextlib.asynccontextmanager
async def serving(
    *scripts: Script, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[tuple[ScriptedGateway, int]]:
    gateway = ScriptedGateway(*scripts)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(gateway, server)
    address = f"127.0.0.1:{port}"
    if credentials is None:
        bound = server.add_insecure_port(address)
    else:
        bound = server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield gateway, bound
    finally:
        await server.stop(None)


@pytest.fixture
def serve() -> Callable[..., contextlib.AbstractAsyncContextManager[tuple[ScriptedGateway, int]]]:
    """A context manager that serves scripts on a port of loopback."""
    return serving
