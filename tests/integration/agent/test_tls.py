from __future__ import annotations

import asyncio
import contextlib

import grpc
import grpc.aio
import pytest

from agent import channel
from agent.settings import ApiKey, TlsMaterial
from hostpulse.v1 import telemetry_pb2
from tests.authority import Authority

PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
async def port(serve, authority):
    """A gateway that asks for certificates of the authority."""
    certificate, key = authority.issue("gateway")
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority.pem, require_client_auth=True
    )

    async def welcome(conversation):
        await conversation.welcome()

    async with serve(welcome, credentials=credentials) as (_, bound):
        yield bound


@contextlib.asynccontextmanager
async def stream_to(port, tls):
    connection = channel.open_channel(f"127.0.0.1:{port}", tls)
    try:
        yield channel.open_stream(connection, ApiKey("k"))
    finally:
        await connection.close()


async def greet(port, tls):
    hello = telemetry_pb2.StreamRequest(hello=telemetry_pb2.Hello(server_name="web-1"))
    async with stream_to(port, tls) as stream, asyncio.timeout(PATIENCE_S):
        await stream.write(hello.SerializeToString())
        return await stream.read()


async def test_an_agent_with_a_certificate_is_welcome(port, authority):
    certificate, key = authority.issue("web-1")
    tls = TlsMaterial(authority=authority.pem, certificate=certificate, key=key)

    assert (await greet(port, tls)).HasField("welcome")


@pytest.mark.parametrize("kind", ["no certificate", "another authority", "plaintext"])
async def test_no_stream_without_what_both_sides_trust(port, authority, kind):
    certificate, key = authority.issue("web-1")
    tls = {
        "no certificate": TlsMaterial(authority=authority.pem),
        "another authority": TlsMaterial(
            authority=Authority().pem, certificate=certificate, key=key
        ),
        "plaintext": None,
    }[kind]

    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
        await greet(port, tls)
