from __future__ import annotations

import asyncio
import contextlib

import grpc
import grpc.aio
import pytest

from agent import channel
from agent.settings import ApiKey
from hostpulse.v1 import telemetry_pb2

PATIENCE_S = 10.0


class Wire:
    """A TCP connection through the test that can fall silent without being closed."""

    def __init__(self, port):
        self._port = port
        self._pipes = set()
        self._writers = []
        self.silent = False

    @contextlib.asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for pipe in self._pipes:
                pipe.cancel()
            for writer in self._writers:
                writer.close()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            self._pipes.add(asyncio.create_task(self._forward(source, target)))

    async def _forward(self, source, target):
        while data := await source.read(65_536):
            if not self.silent:
                target.write(data)


async def test_a_peer_that_goes_without_a_word_is_noticed(serve):
    async def welcome(conversation):
        await conversation.welcome()
        await conversation.read()

    options = channel.keepalive(time_s=0.3, timeout_s=0.3)
    async with serve(welcome) as (_, port):
        wire = Wire(port)
        async with wire.listening() as through:
            connection = channel.open_channel(f"127.0.0.1:{through}", None, options=options)
            stream = channel.open_stream(connection, ApiKey("k"))
            hello = telemetry_pb2.StreamRequest(hello=telemetry_pb2.Hello(server_name="web-1"))
            await stream.write(hello.SerializeToString())
            await stream.read()

            wire.silent = True
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                async with asyncio.timeout(PATIENCE_S):
                    await stream.read()
            await connection.close()

    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_dead_peer_is_noticed_within_30_s():
    options = dict(channel.CHANNEL_OPTIONS)

    assert options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"] < 30_000
