"""The gateway's certificate: read at the start, and again when its files have changed.

Both servers ask at each handshake. A renewed pair is tried before it is taken: half of a pair, or
a file that is just being written, leaves the old one in force, and the log says so once.
"""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import structlog

from hostpulse import errors

if TYPE_CHECKING:
    from pathlib import Path

CERT, KEY, CLIENT_CA = "HOSTPULSE_TLS_CERT", "HOSTPULSE_TLS_KEY", "HOSTPULSE_TLS_CLIENT_CA"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the files held, as PEM, and the same as a context for TLS 1.2 and newer."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_authority: bytes | None
    context: ssl.SSLContext = field(compare=False)


class CertificateFiles:
    """A certificate chain, its key, and the authority of clients, as files that may be replaced.

    Args:
        certificate: the chain, the gateway's own first.
        key: of the first certificate; without a pass phrase.
        client_authority: who signs the certificates of agents; None asks agents for none.
    """

    def __init__(
        self, *, certificate: Path, key: Path, client_authority: Path | None = None
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._client_authority = client_authority
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._stamps: tuple[tuple[int, int, int], ...] = ()
        self._material: Material | None = None

    @property
    def asks_clients(self) -> bool:
        """Whether agents must bring a certificate."""
        return self._client_authority is not None

    def read(self) -> Material:
        """Return what the files hold now.

        Raises:
            ConfigError: a file can't be read, or they don't belong together.
        """
        with self._lock:
            material = self._load()
            self._stamps, self._material = self._look(), material
            return material

    def renewed(self) -> Material | None:
        """Return what the files hold if that has changed and is sound, else None; never raises."""
        with self._lock:
            try:
                stamps = self._look()
                if stamps == self._stamps:
                    return None
                self._stamps = stamps  # what is broken is reported once, not at each handshake
                material = self._load()
            except (OSError, errors.ConfigError) as error:
                log.warning("certificate_not_renewed", error=str(error))
                return None
            if material == self._material:
                return None
            self._material = material
            log.info("certificate_renewed", file=str(self._certificate))
            return material

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is written or replaced."""
        paths = (self._certificate, self._key, self._client_authority)
        stats = [path.stat() for path in paths if path is not None]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)

    def _load(self) -> Material:
        """Read the files and try them."""
        certificate, key = _read(CERT, self._certificate), _read(KEY, self._key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse)
        except (OSError, ValueError) as error:
            raise errors.ConfigError(
                f"{CERT} and {KEY}",
                expectation="a certificate and its key in PEM, without a pass phrase",
                value=(str(self._certificate), str(self._key)),
            ) from error
        return Material(
            certificate=certificate,
            key=key,
            client_authority=self._load_authority(),
            context=context,
        )

    def _load_authority(self) -> bytes | None:
        """Read the authority of clients and try it."""
        if self._client_authority is None:
            return None
        pem = _read(CLIENT_CA, self._client_authority)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(
                cadata=pem.decode("ascii")
            )
        except (OSError, ValueError) as error:
            raise errors.ConfigError(
                CLIENT_CA, expectation="certificates in PEM", value=str(self._client_authority)
            ) from error
        return pem


def grpc_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files; gRPC takes TLS 1.2 and newer only.

    Raises:
        ConfigError: as `CertificateFiles.read`.
    """

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        material = files.renewed()
        return None if material is None else _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.read()),
        fetch,  # pyright: ignore[reportArgumentType] - None is "no change", its types forgot
        require_client_authentication=files.asks_clients,
    )


def http_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return a context that follows the files; agents' certificates are not asked for.

    Raises:
        ConfigError: as `CertificateFiles.read`.
    """
    first = newest = files.read().context

    def follow(connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        nonlocal newest
        if (material := files.renewed()) is not None:
            newest = material.context
        if newest is not first:
            connection.context = newest

    first.sni_callback = follow  # asked at each handshake, with or without a name
    return first


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    """Say it in gRPC's words."""
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.client_authority
    )


def _read(variable: str, path: Path) -> bytes:
    """Read a file that a variable names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.ConfigError(
            variable, expectation="a readable file", value=str(path)
        ) from error


def _refuse() -> str:
    """Answer OpenSSL's question for a pass phrase: nobody is there to type one."""
    raise ValueError("the key has a pass phrase")
