from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent import channel
from agent.settings import ApiKey, TlsMaterial
from hostpulse.v1 import telemetry_pb2

PATIENCE_S = 10.0


class Authority:
    """A private authority that lives as long as a test."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign("authority", self._key.public_key(), None)
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name):
        """A certificate for loopback and its key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key.public_key(), self._certificate.subject)
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _sign(self, name, public_key, issuer):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
            .add_extension(x509.SubjectAlternativeName([loopback]), False)
            .sign(self._key, hashes.SHA256())
        )


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
