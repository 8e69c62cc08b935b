"""`hostpulse tls`: a private authority and certificates, for people who have none."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hostpulse.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Iterable

tls_app = typer.Typer(
    help="Certificates: a private authority, gateways and agents.", no_args_is_help=True
)

AUTHORITY = "ca"
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397  # what browsers accept at most
BACKDATED = timedelta(hours=1)  # hosts whose clocks are a little behind
NAME_MAX_CHARACTERS = 64  # of a common name (RFC 5280, appendix A.1)

Directory = Annotated[Path, typer.Argument(help="Where the authority is; made where it is not.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How long the certificate is good.")]


@tls_app.command("init")
def init(
    directory: Directory,
    *,
    name: Annotated[
        list[str], typer.Option(help="A name or address of the gateway; several times for more.")
    ],
    days: Days = CERTIFICATE_DAYS,
) -> None:
    """Make a private authority and the certificate of a gateway."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_authority(directory)
    _issue(directory, "gateway", name, days=days, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    print(
        f"Gateway:  HOSTPULSE_TLS_CERT={directory / 'gateway.pem'}\n"
        f"          HOSTPULSE_TLS_KEY={directory / 'gateway.key'}\n"
        f"Agents:   HOSTPULSE_TLS_CA={directory / 'ca.pem'}  (copy this file to each of them)\n"
        f"Keep {directory / 'ca.key'} where nobody else can read it; it signs certificates."
    )


@tls_app.command("gateway")
def gateway(
    directory: Directory,
    *,
    name: Annotated[
        list[str], typer.Option(help="A name or address of the gateway; several times for more.")
    ],
    days: Days = CERTIFICATE_DAYS,
) -> None:
    """Make a new certificate of a gateway; a running one takes it without a restart."""
    _issue(directory, "gateway", name, days=days, usage=ExtendedKeyUsageOID.SERVER_AUTH, again=True)
    print(f"Written: {directory / 'gateway.pem'} and {directory / 'gateway.key'}")


@tls_app.command("agent")
def agent(
    directory: Directory,
    server: Annotated[str, typer.Argument(help="The server's name, as the agent says it.")],
    *,
    days: Days = CERTIFICATE_DAYS,
) -> None:
    """Make the certificate of an agent, for a gateway with HOSTPULSE_TLS_CLIENT_CA."""
    if "/" in server or server in {AUTHORITY, "gateway", ".", ".."}:
        raise typer.BadParameter(f"server must be a name that can name a file, got {server!r}")
    _issue(
        directory, server, [server], days=days, usage=ExtendedKeyUsageOID.CLIENT_AUTH, again=True
    )
    print(
        f"On {server}: HOSTPULSE_TLS_CERT={server}.pem, HOSTPULSE_TLS_KEY={server}.key and "
        f"HOSTPULSE_TLS_CA=ca.pem, copied from {directory}"
    )


def _make_authority(directory: Path) -> None:
    """Make a key and a certificate that may sign others, and nothing beyond them.

    Raises:
        Permanent: there is one already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hostpulse private authority")])
    certificate = (
        _builder(subject, subject, key.public_key(), days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(directory / f"{AUTHORITY}.key", _pem_of(key), mode=0o600, again=False)
    _write(directory / f"{AUTHORITY}.pem", _pem(certificate), mode=0o644, again=False)


def _issue(
    directory: Path,
    file: str,
    names: Iterable[str],
    *,
    days: int,
    usage: x509.ObjectIdentifier,
    again: bool = False,
) -> None:
    """Sign a certificate of these names, and write it and its key.

    Raises:
        Permanent: there is no authority in the directory, or one of the files is there.
    """
    authority_key, authority = _read_authority(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    listed = list(names)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, listed[0][:NAME_MAX_CHARACTERS])])
    certificate = (
        _builder(subject, authority.subject, key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_alternative(n) for n in listed]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False
        )
        .sign(authority_key, hashes.SHA256())
    )
    # The authority goes with it: an agent that enrols knows its hash only.
    _write(directory / f"{file}.key", _pem_of(key), mode=0o600, again=again)
    chain = _pem(certificate) + _pem(authority)
    _write(directory / f"{file}.pem", chain, mode=0o644, again=again)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    """Begin a certificate."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    """Say what a key is for: signing certificates, or handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    """Write a name or an address as a certificate has it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise typer.BadParameter(f"name must be ASCII or an address, got {name!r}") from error


def _read_authority(directory: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Read the authority that `tls init` made."""
    try:
        key = serialization.load_pem_private_key(
            (directory / f"{AUTHORITY}.key").read_bytes(), password=None
        )
        certificate = x509.load_pem_x509_certificate((directory / f"{AUTHORITY}.pem").read_bytes())
    except (OSError, ValueError) as error:
        raise Permanent(
            f"directory must hold an authority made by `hostpulse tls init`, got {directory}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Permanent(f"{AUTHORITY}.key must be an elliptic curve key, got another kind")
    return key, certificate


def _write(path: Path, content: bytes, *, mode: int, again: bool) -> None:
    """Write a file whole, with its mode from the first byte on.

    Raises:
        Permanent: it is there and is not to be written again.
    """
    if path.exists() and not again:
        raise Permanent(f"{path} is there already; remove it to make a new one")
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    part.replace(path)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
