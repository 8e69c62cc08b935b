"""TLS of a running gateway, on both ports, with certificates of `hostpulse tls`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import grpc
import httpx
import pytest
from typer.testing import CliRunner

from agent.channel import open_channel
from agent.settings import TlsMaterial
from api.app import create
from cli.tls import tls_app
from collector_gateway.app import Gateway
from collector_gateway.settings import GatewaySettings
from hostpulse.v1 import telemetry_pb2 as pb
from tests.integration.gateway.conftest import STREAM, Agent


def tls(*arguments):
    result = CliRunner().invoke(tls_app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture
def authority(tmp_path):
    tls("init", tmp_path / "ca", "--name", "127.0.0.1", "--name", "localhost")
    return tmp_path / "ca"


@contextlib.asynccontextmanager
async def gateway_with(database, **settings):
    gateway = Gateway(
        GatewaySettings(
            database_url=database, grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0", **settings
        ),
        create,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    try:
        async with asyncio.timeout(10):
            while not (gateway.grpc_port and gateway.http_port):
                assert not running.done(), running.exception()
                await asyncio.sleep(0.01)
        yield gateway
    finally:
        stop.set()
        await running


def certificate_settings(authority):
    return {
        "tls_cert": str(authority / "gateway.pem"),
        "tls_key": str(authority / "gateway.key"),
        "http_tls": "on",
    }


def trusting(authority):
    return ssl.create_default_context(cafile=authority / "ca.pem")


def serial_on(port, authority, *, alpn=()):
    """Shake hands and return the serial number of the certificate that was shown."""
    context = trusting(authority)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert()["serialNumber"]


async def test_http_and_agents_are_served_with_tls(database, authority):
    async with (
        gateway_with(database, **certificate_settings(authority)) as gateway,
        httpx.AsyncClient(verify=trusting(authority)) as client,
    ):
        answer = await client.get(f"https://127.0.0.1:{gateway.http_port}/healthz")
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{gateway.http_port}/healthz")
        credentials = grpc.ssl_channel_credentials((authority / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(
            f"127.0.0.1:{gateway.grpc_port}", credentials
        ) as channel:
            call = channel.stream_stream(STREAM)(metadata=(("authorization", "Bearer no"),))
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def speaks(port, authority, version):
    """Whether a server takes a client that knows one version of TLS, and would take any cipher."""
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@pytest.fixture
async def old_server(authority):
    """A server that speaks TLS 1.1, to know that the client of these tests does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.load_cert_chain(authority / "gateway.pem", authority / "gateway.key")
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_nothing_older_than_tls_1_2_is_spoken(database, authority, old_server):
    versions = (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    async with gateway_with(database, **certificate_settings(authority)) as gateway:
        spoken = {
            name: [await speaks(port, authority, version) for version in versions]
            for name, port in (
                ("gRPC", gateway.grpc_port),
                ("HTTP", gateway.http_port),
                ("old", old_server),
            )
        }

    assert spoken == {
        "gRPC": [False, True, True],
        "HTTP": [False, True, True],
        "old": [True, True, True],
    }


@pytest.mark.parametrize("port", ["grpc_port", "http_port"])
async def test_a_renewed_certificate_is_shown_without_a_restart(database, authority, port):
    def shown():
        return asyncio.to_thread(serial_on, getattr(gateway, port), authority, alpn=["h2"])

    async with gateway_with(database, **certificate_settings(authority)) as gateway:
        first = await shown()
        key = (authority / "gateway.key").read_bytes()
        (authority / "gateway.key").write_bytes(b"half of a pair")
        assert await shown() == first
        (authority / "gateway.key").unlink()
        assert await shown() == first
        (authority / "gateway.key").write_bytes(key)
        assert await shown() == first

        tls("gateway", authority, "--name", "127.0.0.1")
        second = await shown()

        assert second != first
        assert await shown() == second


async def test_an_agents_certificate_is_good_for_the_server_that_it_names(
    database, authority, admin_key
):
    tls("agent", authority, "web-1")
    root = (authority / "ca.pem").read_bytes()
    material = TlsMaterial(
        authority=root,
        certificate=(authority / "web-1.pem").read_bytes(),
        key=(authority / "web-1.key").read_bytes(),
    )
    settings = certificate_settings(authority) | {"tls_client_ca": str(authority / "ca.pem")}

    async with gateway_with(database, **settings) as gateway:

        @contextlib.asynccontextmanager
        async def stream(tls_material):
            address = f"127.0.0.1:{gateway.grpc_port}"
            async with open_channel(address, tls_material) as channel:
                yield Agent(
                    channel.stream_stream(STREAM)(
                        metadata=(("authorization", f"Bearer {admin_key}"),)
                    ),
                    epoch=5,
                )

        async with stream(material) as agent:
            assert (await agent.hello("web-1")).time_unix_ns
        async with stream(material) as agent:
            hello = pb.Hello(server_name="web-2", machine_id="m", epoch=5)
            await agent.send(pb.StreamRequest(hello=hello))
            code, detail = await agent.status()
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert detail == "this certificate is not for the server 'web-2'"
        async with stream(TlsMaterial(authority=root)) as agent:
            code, _ = await agent.status()
            assert code is grpc.StatusCode.UNAVAILABLE


async def test_an_agent_connects_with_what_its_files_hold_by_then(authority, tmp_path):
    copy = tmp_path / "copy.pem"
    copy.write_bytes(b"old")
    material = TlsMaterial(authority=b"old", files={"authority": copy})

    copy.write_bytes((authority / "ca.pem").read_bytes())
    assert material.reread().authority == (authority / "ca.pem").read_bytes()
    copy.unlink()
    assert material.reread().authority == b"old"
