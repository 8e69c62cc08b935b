"""What the agents' port holds open for whom nobody knows yet."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from collector_gateway import app
from tests.integration.gateway.conftest import running_gateway

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture
async def port(database, admin_key, monkeypatch):
    """Of a gateway that takes three connections, and waits for little."""
    short = {"grpc.server_handshake_timeout_ms": 500, "grpc.max_connection_idle_ms": 1000}
    monkeypatch.setattr(app, "GRPC_OPTIONS", tuple((dict(app.GRPC_OPTIONS) | short).items()))
    monkeypatch.setattr(app, "agents_connections", lambda: 3)
    async with running_gateway(database, admin_key) as harness:
        yield harness.gateway.grpc_port


async def closed(reader):
    """Wait for the end."""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            while await reader.read(1000):
                pass


@pytest.mark.parametrize("said", [b"", PREFACE], ids=["nothing", "hello"])
async def test_a_connection_without_a_stream_is_closed(port, said):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    await closed(reader)
    writer.close()


async def test_there_is_a_last_connection(port):
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    for reader, writer in held:
        writer.write(PREFACE)
        assert await reader.read(1)
    refused, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PREFACE)

    with contextlib.suppress(ConnectionResetError):
        assert await refused.read(1) == b""
    for _, each in (*held, (refused, writer)):
        each.close()
