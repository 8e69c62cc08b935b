"""Becoming known: a token is exchanged for a key of this agent's own, once.

    unverified: the gateway's certificate, its authority ─▶ hash as in the token? ─▶ trust it
    verified with that authority: token ─▶ key ─▶ enrollment.json

Nothing secret is sent before the authority is the one that the token names. Who stands between
can pass the authority on, but has no certificate of it, so the second connection fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import grpc.aio

import hostpulse
from agent import channel, enrollment_file, identity
from hostpulse import backoff, errors
from hostpulse.machines import fingerprint
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.settings import TlsMaterial
    from hostpulse import logs

CALL_TIMEOUT_S = 10.0
PATIENCE_S = 3600.0  # for a gateway, or an admin; then a person has to run it again
RETRY = backoff.BackoffPolicy(initial_s=0.5, maximum_s=30.0)
ASK_AGAIN = backoff.BackoffPolicy(minimum_s=3.0, initial_s=5.0, maximum_s=60.0)  # while it waits
HOSTNAME_MAX_CHARACTERS = 253
_TOKEN = re.compile(r"(hpe_([0-9a-f]{8})_[A-Za-z0-9_-]{43})(?:\.([0-9a-f]{64}))?")
_SERVICE = telemetry_pb2.DESCRIPTOR.services_by_name["EnrollmentService"].full_name
# What another attempt can mend; the others are for a person.
LATER = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)

log = logging.getLogger(__name__)


class NotEnrolledError(errors.Permanent):
    """This agent has no key: a person has to do something."""


class WaitingError(errors.Retryable):
    """An admin has not decided yet."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token in its parts; `authority_sha256` is empty where it names no private authority."""

    secret: str = field(repr=False)
    prefix: str
    authority_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentSettings:
    """Whom to ask for a key, and as whom; `server_name` is empty where it was not given."""

    token: Token
    gateways: Sequence[str]
    server_name: str
    tls: TlsMaterial | None
    data_dir: Path
    log: logs.LogSettings


def parse_token(field_name: str, text: str) -> Token:
    """Read a token.

    Raises:
        ConfigError: it is none.
    """
    match = _TOKEN.fullmatch(text)
    if match is None:
        expectation = "a token of `hostpulse key create --enroll` (hpe_…)"
        raise errors.ConfigError(field_name, expectation=expectation, value="(hidden)")
    return Token(secret=match[1], prefix=match[2], authority_sha256=match[3] or "")


async def enroll(
    settings: EnrollmentSettings, stop: asyncio.Event, *, patience_s: float = PATIENCE_S
) -> bool:
    """Exchange the token for a key and keep it; False when the stop came first.

    Raises:
        NotEnrolledError: the token is refused, the gateway is not the one that it names, or
            patience is at its end.
        ConfigError: the key can't be kept here.
    """
    enrollment_file.check_writable(settings.data_dir)
    machine_id = identity.read(settings.data_dir).machine_id
    log.info("enrolling", extra={"gateways": settings.gateways, "machine": fingerprint(machine_id)})
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + patience_s
    retry, ask_again = backoff.delays(RETRY), backoff.delays(ASK_AGAIN)
    turn, last = 0, ""
    while not stop.is_set():
        gateway = settings.gateways[turn % len(settings.gateways)]
        try:
            await _exchange(settings, gateway, machine_id)
        except errors.Retryable as error:
            waiting = isinstance(error, WaitingError)
            if str(error) != last:
                last = str(error)
                log.warning("enrollment_waits", extra={"gateway": gateway, "reason": last})
            if loop.time() >= deadline_s:
                raise NotEnrolledError(f"not enrolled: {last}; run this again") from error
            turn += 0 if waiting else 1
            delay_s = next(ask_again if waiting else retry)
            await backoff.pause(backoff.honoured(delay_s, error.after_s), stop)
        else:
            return True
    return False


async def _exchange(settings: EnrollmentSettings, gateway: str, machine_id: str) -> None:
    """Ask one gateway once, and keep what it gives."""
    tls = await _trusted(settings, gateway)
    connection = channel.open_channel(gateway, tls)
    try:
        request = telemetry_pb2.EnrollRequest(
            token=settings.token.secret,
            server_name=settings.server_name,
            machine_id=machine_id,
            agent_version=hostpulse.__version__,
            hostname=socket.gethostname()[:HOSTNAME_MAX_CHARACTERS],
        )
        data = await _call(connection, "Enroll", request.SerializeToString())
    finally:
        await connection.close()
    answer = telemetry_pb2.EnrollResponse.FromString(data)
    enrollment_file.write(
        settings.data_dir,
        token=settings.token.prefix,
        gateways=settings.gateways,
        server_name=answer.server_name,
        api_key=answer.api_key,
        authority=tls.authority if tls and settings.token.authority_sha256 else None,
    )
    log.info("enrolled", extra={"server": answer.server_name})


async def _trusted(settings: EnrollmentSettings, gateway: str) -> TlsMaterial | None:
    """Return what the gateway must prove; None is plaintext, which the settings have allowed.

    Raises:
        NotEnrolledError: the gateway's authority is not the one in the token.
    """
    wanted = settings.token.authority_sha256
    if not wanted:
        return settings.tls
    if settings.tls is not None and settings.tls.authority is not None:
        authority = settings.tls.authority
    else:
        authority = await _fetch_authority(gateway, settings.tls)
    try:
        der = ssl.PEM_cert_to_DER_cert(authority.decode("ascii").strip())
    except ValueError:
        der = b""
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), wanted):
        raise NotEnrolledError(
            f"{gateway} is not the gateway that the token is for: its authority is another one"
        )
    return channel.with_authority(settings.tls, authority)


async def _fetch_authority(gateway: str, tls: TlsMaterial | None) -> bytes:
    """Return the authority that a gateway says it has; whether that is so is not known yet."""
    host, _, port = gateway.rpartition(":")
    address = (host.removeprefix("[").removesuffix("]"), int(port))
    try:
        leaf = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=CALL_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise errors.Retryable(f"no certificate of {gateway}: {error}") from error
    # Trusted for one question, whose answer is checked by its hash.
    connection = channel.open_channel(gateway, channel.with_authority(tls, leaf.encode()))
    try:
        request = telemetry_pb2.GetAuthorityRequest().SerializeToString()
        data = await _call(connection, "GetAuthority", request)
    finally:
        await connection.close()
    return telemetry_pb2.GetAuthorityResponse.FromString(data).ca_certificate


async def _call(connection: grpc.aio.Channel, method: str, request: bytes) -> bytes:
    """Make a call.

    Raises:
        Retryable: it may work later.
        NotEnrolledError: it will not, without a person.
    """
    call = connection.unary_unary(
        f"/{_SERVICE}/{method}", request_serializer=None, response_deserializer=None
    )
    try:
        return await call(request, timeout=CALL_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        text = f"{error.code().name}: {error.details() or 'no details'}"
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            raise WaitingError(error.details() or text) from error
        if error.code() in LATER:
            after_s = channel.pushback_s(error.trailing_metadata() or ())
            raise errors.Retryable(text, after_s=after_s) from error
        raise NotEnrolledError(f"not enrolled: {text}") from error
