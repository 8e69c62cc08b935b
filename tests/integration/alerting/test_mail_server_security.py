"""STARTTLS, TLS and passwords against a real SMTP server."""

from __future__ import annotations

import datetime
import gc
import ipaddress
import socket
import ssl
import warnings

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from alerting.channels import Channel
from alerting.notifiers import NOTIFIERS
from hostpulse import errors
from tests import told


@pytest.fixture(autouse=True)
def collected():
    """Collect what a broken handshake leaves of the test's server, so that no later test does."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Sink:
    def __init__(self) -> None:
        self.tls: list[bool] = []
        self.logins: list[str] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.tls.append(session.ssl is not None)
        return "250 taken"

    def authenticate(self, server, session, envelope, mechanism, data) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == b"right", handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("mail") / "mail.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
def start(certificate):
    """Start mail servers; `start(scheme, …)` returns the sink and the port."""
    running = []

    def run(scheme: str, **more) -> tuple[Sink, int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        sink = Sink()
        tls = {"ssl_context": context} if scheme == "smtps" else {"tls_context": context}
        controller = Controller(sink, hostname="127.0.0.1", port=port, **tls, **more)
        controller.start()
        running.append(controller)
        return sink, port

    yield run
    for controller in running:
        controller.stop()


def notifier(url: str):
    channel = Channel(name="ops", kind="email", config={"to": ["a@example.org"]}, smtp_url=url)
    return NOTIFIERS["email"](channel)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_goes_through_tls(start, certificate, monkeypatch, scheme):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sink, port = start(scheme)

    await notifier(f"{scheme}://127.0.0.1:{port}").send(told.CPU)

    # aiosmtpd notes STARTTLS only; a server of smtps speaks nothing but TLS
    assert sink.tls == [scheme == "smtp"]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(start, scheme):
    sink, port = start(scheme)

    with pytest.raises(errors.Retryable, match=r"(?i)certificate"):
        await notifier(f"{scheme}://127.0.0.1:{port}").send(told.CPU)

    assert sink.tls == []


@pytest.mark.parametrize(
    ("password", "taken"),
    [pytest.param("right", True, id="right"), pytest.param("wr0ng", False, id="wrong")],
)
async def test_a_password_is_given_inside_tls_only(
    start, certificate, monkeypatch, password, taken
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    authenticator = Sink().authenticate
    sink, port = start("smtp", auth_required=True, authenticator=authenticator)
    url = f"smtp://user:{password}@127.0.0.1:{port}"

    if taken:
        await notifier(url).send(told.CPU)
    else:
        with pytest.raises(errors.Retryable, match="535") as caught:
            await notifier(url).send(told.CPU)
        assert password not in str(caught.value)

    assert sink.tls == ([True] if taken else [])
