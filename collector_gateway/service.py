"""The TelemetryService: lets streams in, keeps one a server, ends them in order.

Messages are taken as bytes and decoded here rather than by grpc: their size is known for free, and
garbage ends one stream with a clear status.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING

import grpc
import structlog

from collector_gateway import greeting
from collector_gateway.addresses import host_of
from collector_gateway.auth import bearer
from collector_gateway.buckets import Limited
from collector_gateway.denials import Denial
from collector_gateway.holding import pushback
from collector_gateway.limits import STREAMS_MAX
from collector_gateway.principals import Unauthenticated
from collector_gateway.session import Session, end_call
from hostpulse import errors
from storage import claims

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.auth import Authenticator
    from collector_gateway.claims import Claims
    from collector_gateway.config_push import ConfigPush
    from collector_gateway.credits import Credits
    from collector_gateway.denials import Denials
    from collector_gateway.ingest import Ingest
    from collector_gateway.limits import Limits
    from collector_gateway.live import Live
    from collector_gateway.metrics import Metrics
    from collector_gateway.principals import Principal
    from collector_gateway.session import Context
    from collector_gateway.sessions import Sessions
    from hostpulse.clock import Clock
    from hostpulse.v1 import telemetry_pb2 as pb
    from storage.database import Pool

HELLO_TIMEOUT_S = 10.0
RELEASE_TIMEOUT_S = 3.0
DRAIN_SPREAD_S = 2.0  # a stopping gateway's agents come to the others one by one
RETRYABLE = grpc.StatusCode.UNAVAILABLE
DENIED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})

log = structlog.get_logger()


class _Refusal(Exception):
    """The stream is ended with this status before it became a session.

    Args:
        code: the status.
        detail: a sentence for the agent.
        who: asked, where that is known.
        subject: the server that was asked for.
        machine_id: that asked for it.
        after_s: when to come again, where that is known.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        detail: str,
        *,
        who: Principal | None = None,
        subject: str | None = None,
        machine_id: str | None = None,
        after_s: float | None = None,
    ) -> None:
        self.after_s = after_s
        self.code = code
        self.detail = detail
        self.who = who
        self.subject = subject
        self.machine_id = machine_id

    def denial(self, peer: str) -> Denial:
        """Return what the audit log is told."""
        detail: Mapping[str, str] = {"reason": self.detail}
        if self.machine_id is not None:
            detail = {**detail, "machine_id": self.machine_id}
        return Denial(
            actor=self.who.actor if self.who else "(unknown)",
            action="stream.open",
            subject=self.subject,
            address=host_of(peer),
            detail=detail,
        )


class TelemetryService:
    """Handles `Stream`.

    Args:
        sessions: the streams of this gateway.
        authenticator: of API keys.
        live: ends streams whose key ends.
        denials: is told who was turned away.
        claims: opens streams.
        ingest: takes batches.
        credits: leave to send backlog.
        limits: how fast anybody may go.
        query_pool: for goodbyes.
        metrics: of this process.
        clock: ours.
        config: tells agents what they are to run.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        authenticator: Authenticator,
        live: Live,
        denials: Denials,
        claims: Claims,
        ingest: Ingest,
        credits: Credits,
        limits: Limits,
        query_pool: Pool,
        metrics: Metrics,
        clock: Clock,
        config: ConfigPush,
    ) -> None:
        self._authenticator = authenticator
        self._live = live
        self._denials = denials
        self._claims = claims
        self._config = config
        self._ingest = ingest
        self._credits = credits
        self._limits = limits
        self._query_pool = query_pool
        self._metrics = metrics
        self._clock = clock
        self._sessions = sessions
        self._draining = False
        metrics.sessions.set_function(lambda: len(self._sessions))

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is given."""
        return grpc.method_handlers_generic_handler(
            "hostpulse.v1.TelemetryService",
            {"Stream": grpc.stream_stream_rpc_method_handler(self._stream)},  # pyright: ignore[reportArgumentType]
        )

    async def drain(self, grace_s: float) -> None:
        """Let no new streams in, ask all agents to go elsewhere, and wait within a grace."""
        self._draining = True
        await self._sessions.drain(spread_s=DRAIN_SPREAD_S, grace_s=grace_s)

    async def _stream(self, _requests: object, context: Context) -> None:
        """Serve one stream from its first message to its last."""
        try:
            principal, session = await self._open(context)
        except _Refusal as refusal:
            if refusal.code in DENIED:
                peer = context.peer()
                log.warning(
                    "stream_refused", server=refusal.subject, peer=peer, reason=refusal.detail
                )
                await self._denials.note(refusal.denial(peer))
            self._metrics.streams_refused.labels(code=refusal.code.name).inc()
            if refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                await self._limits.holding.hold()
            context.set_trailing_metadata(pushback(refusal.after_s))
            end_call(context, refusal.code, refusal.detail)
            return
        self._sessions.add(session)
        self._config.opened(session)
        log.info("stream_opened", server=session.server_name, peer=context.peer())
        try:
            end = partial(session.end, grpc.StatusCode.UNAUTHENTICATED)
            with self._live.hold(principal, end):
                await session.run()
        finally:
            self._sessions.remove(session)
            log.info("stream_ended", server=session.server_name, goodbye=session.goodbye)
            if session.goodbye is not None:
                await self._release(session)

    async def _open(self, context: Context) -> tuple[Principal, Session]:
        """Authenticate, read Hello, claim the server, say Welcome.

        Raises:
            _Refusal: one of them failed.
        """
        if self._draining:
            raise _Refusal(RETRYABLE, "this gateway is stopping")
        if len(self._sessions) >= STREAMS_MAX:
            raise _Refusal(RETRYABLE, f"this gateway has {STREAMS_MAX} streams already")
        principal = await self._authenticate(context)
        hello = await self._read_hello(context)
        if not principal.may_write(hello.server_name):
            detail = f"this key is not for the server {hello.server_name!r}"
            raise _denied(detail, principal, hello)
        if not _certificate_fits(context, hello.server_name):
            detail = f"this certificate is not for the server {hello.server_name!r}"
            raise _denied(detail, principal, hello)
        token = uuid.uuid4()
        try:
            self._limits.admit_stream(hello.server_name)
            claim = greeting.to_claim(hello, token)
            answer = await self._claims.claim(claim)
        except greeting.InvalidHello as error:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        except errors.Retryable as error:
            raise _busy(error) from error
        if isinstance(answer, claims.Refused):
            detail = (
                f"the name {hello.server_name!r} belongs to machine {answer.machine_id[:8]}..., "
                f"not to {hello.machine_id[:8]}...: give this server another name, or release the "
                f"name with `hostpulse server forget {hello.server_name}`"
            )
            raise _denied(detail, principal, hello)
        session = Session(
            context,
            hello=hello,
            claimed=answer,
            token=token,
            ingest=self._ingest,
            credits=self._credits,
            limits=self._limits,
            metrics=self._metrics,
            clock=self._clock,
            on_config_result=self._config.answered,
        )
        session.answer(greeting.to_welcome(answer, hello, self._clock.wall_ns()))
        return principal, session

    async def _authenticate(self, context: Context) -> Principal:
        """Check the key that the call carries."""
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        address = host_of(context.peer())
        try:
            self._limits.admit_call(address)
            return await self._authenticator.authenticate(
                bearer(authorization if isinstance(authorization, str) else None), address=address
            )
        except Unauthenticated as error:
            raise _Refusal(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error
        except errors.Retryable as error:
            raise _busy(error) from error

    async def _read_hello(self, context: Context) -> pb.Hello:
        """Read the first message, which must be Hello."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                data = await context.read()
        except TimeoutError as error:
            detail = f"{greeting.EXPECTED} within {HELLO_TIMEOUT_S:g} s"
            raise _Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, detail) from error
        if data is grpc.aio.EOF:
            detail = f"{greeting.EXPECTED}, got the end"
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, detail)
        try:
            return greeting.parse(data)
        except greeting.InvalidHello as error:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error

    async def _release(self, session: Session) -> None:
        """Note a goodbye: silence is expected from now on."""
        try:
            async with (
                asyncio.timeout(RELEASE_TIMEOUT_S),
                self._query_pool.acquire() as connection,
            ):
                await claims.release(
                    connection, session.server_id, session.token, session.goodbye or ""
                )
        except Exception as error:
            log.warning("goodbye_not_recorded", server=session.server_name, error=str(error))


def _busy(error: errors.Retryable) -> _Refusal:
    """Refuse for now."""
    code = grpc.StatusCode.RESOURCE_EXHAUSTED if isinstance(error, Limited) else RETRYABLE
    return _Refusal(code, str(error), after_s=error.after_s)


def _certificate_fits(context: Context, server_name: str) -> bool:
    """Whether the agent's certificate, where it had to bring one, bears the server's name."""
    about = context.auth_context()
    if "x509_pem_cert" not in about:
        return True  # plaintext, or agents are not asked for certificates
    names = (*about.get("x509_subject_alternative_name", ()), *about.get("x509_common_name", ()))
    return server_name.encode() in names


def _denied(detail: str, who: Principal, hello: pb.Hello) -> _Refusal:
    """Refuse a server to somebody who is known."""
    return _Refusal(
        grpc.StatusCode.PERMISSION_DENIED,
        detail,
        who=who,
        subject=hello.server_name,
        machine_id=hello.machine_id,
    )
