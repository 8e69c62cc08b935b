"""A gRPC channel to a gateway, and what its status codes mean for the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import grpc
import grpc.aio

from agent.settings import TlsMaterial
from hostpulse import errors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.settings import ApiKey

Trailing: TypeAlias = "Iterable[tuple[str, str | bytes]]"

KEEPALIVE_TIME_S = 15  # a ping after so long without a byte from the gateway
KEEPALIVE_TIMEOUT_S = 10  # and no answer: the peer is dead, after 25 s at most
MAX_RECEIVE_BYTES = 4 * 1024 * 1024


def keepalive(*, time_s: float, timeout_s: float) -> Sequence[tuple[str, int]]:
    """Return the options that notice a peer that has gone without a word.

    A ping goes out `time_s` after the last byte from the peer, and has `timeout_s` to come back.
    `keepalive_timeout_ms` alone does not end the connection: the ping's own timeout does, and by
    default that is a minute. A server must allow pings this often, or it ends the connection.
    """
    return (
        ("grpc.keepalive_time_ms", round(time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(timeout_s * 1000)),
        ("grpc.http2.ping_timeout_ms", round(timeout_s * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # 0: no maximum, a gateway may be silent for long
    )


# https://grpc.github.io/grpc/core/group__grpc__arg__keys.html
CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    *keepalive(time_s=KEEPALIVE_TIME_S, timeout_s=KEEPALIVE_TIMEOUT_S),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not inherit an old one's waiting
    ("grpc.enable_retries", 0),  # attempts are the uplink's business
)
STREAM_METHOD = f"/{telemetry_pb2.DESCRIPTOR.services_by_name['TelemetryService'].full_name}/Stream"
PUSHBACK = "grpc-retry-pushback-ms"
DIGITS_MAX = 10  # an int32, says the proposal
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class RefusedError(errors.Retryable):
    """The gateway does not accept this agent; a person has to do something first."""


def open_channel(
    gateway: str,
    tls: TlsMaterial | None,
    *,
    options: Sequence[tuple[str, int]] = CHANNEL_OPTIONS,
) -> grpc.aio.Channel:
    """Make a channel; it belongs to the running loop and to whoever closes it."""
    if tls is None:
        return grpc.aio.insecure_channel(gateway, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.authority,
        private_key=tls.key,
        certificate_chain=tls.certificate,
    )
    return grpc.aio.secure_channel(gateway, credentials, options=options)


def with_authority(tls: TlsMaterial | None, authority: bytes) -> TlsMaterial:
    """Trust this authority (PEM), and go on with the certificate that there is, if any."""
    if tls is None:
        return TlsMaterial(authority=authority)
    return TlsMaterial(authority=authority, certificate=tls.certificate, key=tls.key)


def open_stream(
    channel: grpc.aio.Channel, key: ApiKey
) -> grpc.aio.StreamStreamCall[bytes, telemetry_pb2.StreamResponse]:
    """Begin a stream; requests are bytes already, because batches are stored serialized."""
    method = channel.stream_stream(
        STREAM_METHOD,
        request_serializer=None,
        response_deserializer=telemetry_pb2.StreamResponse.FromString,
    )
    return method(metadata=(("authorization", f"Bearer {key.current()}"),), wait_for_ready=False)


def failure(
    code: grpc.StatusCode, details: str | None, trailing: Trailing | None = None
) -> errors.Retryable:
    """Say what a stream's end means; everything may work later, some of it not soon.

    Args:
        code: the status.
        details: the sentence that came with it.
        trailing: the metadata that came with it, in which a gateway says when to come again.
    """
    text = f"{code.name}: {details or 'no details'}"
    if code in REFUSED:
        return RefusedError(text)
    return errors.Retryable(text, after_s=pushback_s(trailing or ()))


def pushback_s(trailing: Trailing) -> float | None:
    """Read when to come again, as gRPC's own retries have it (proposal A6), in seconds."""
    for name, value in trailing:
        text = value if isinstance(value, str) else ""
        if name == PUSHBACK and text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX:
            return int(text) / 1000
    return None
