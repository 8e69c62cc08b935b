"""The TelemetryService: lets streams in, keeps one a server, ends them in order.

Messages are taken as bytes and decoded here rather than by grpc: their size is known for free, and
garbage ends one stream with a clear status.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING

import grpc
import structlog
from google.protobuf.message import DecodeError

from collector_gateway import greeting
from collector_gateway.auth import Unauthenticated, bearer
from collector_gateway.session import Session
from hostpulse import errors
from hostpulse.v1 import telemetry_pb2 as pb
from storage import claims
from storage.audit import record

if TYPE_CHECKING:
    from collector_gateway.auth import Authenticator, Principal
    from collector_gateway.claims import Claims
    from collector_gateway.credits import Credits
    from collector_gateway.ingest import Ingest
    from collector_gateway.metrics import Metrics
    from collector_gateway.session import Context
    from collector_gateway.sessions import Sessions
    from hostpulse.clock import Clock
    from storage.database import Pool

HELLO_TIMEOUT_S = 10.0
RELEASE_TIMEOUT_S = 3.0
DRAIN_SPREAD_S = 2.0  # a stopping gateway's agents come to the others one by one
RETRYABLE = grpc.StatusCode.UNAVAILABLE

log = structlog.get_logger()


class _Refusal(Exception):
    """The stream is ended with this status before it became a session."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        self.code = code
        self.detail = detail


class TelemetryService:
    """Handles `Stream`.

    Args:
        sessions: the streams of this gateway.
        authenticator: of API keys.
        claims: opens streams.
        ingest: takes batches.
        credits: leave to send backlog.
        query_pool: for the audit log and goodbyes.
        metrics: of this process.
        clock: ours.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        authenticator: Authenticator,
        claims: Claims,
        ingest: Ingest,
        credits: Credits,
        query_pool: Pool,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._claims = claims
        self._ingest = ingest
        self._credits = credits
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
            session = await self._open(context)
        except _Refusal as refusal:
            self._metrics.streams_refused.labels(code=refusal.code.name).inc()
            await context.abort(refusal.code, refusal.detail)
            return
        self._sessions.add(session)
        log.info("stream_opened", server=session.server_name, peer=context.peer())
        try:
            await session.run()
        finally:
            self._sessions.remove(session)
            log.info("stream_ended", server=session.server_name, goodbye=session.goodbye)
            if session.goodbye is not None:
                await self._release(session)

    async def _open(self, context: Context) -> Session:
        """Authenticate, read Hello, claim the server, say Welcome.

        Raises:
            _Refusal: one of them failed.
        """
        if self._draining:
            raise _Refusal(RETRYABLE, "this gateway is stopping")
        principal = await self._authenticate(context)
        hello = await self._read_hello(context)
        if not principal.may_write(hello.server_name):
            detail = f"this key is not for the server {hello.server_name!r}"
            await self._audit(principal, hello, context, detail)
            raise _Refusal(grpc.StatusCode.PERMISSION_DENIED, detail)
        token = uuid.uuid4()
        try:
            claim = greeting.to_claim(hello, token)
            answer = await self._claims.claim(claim)
        except greeting.InvalidHello as error:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        except errors.Retryable as error:
            raise _Refusal(RETRYABLE, str(error)) from error
        if isinstance(answer, claims.Refused):
            detail = (
                f"the name {hello.server_name!r} belongs to machine {answer.machine_id[:8]}..., "
                f"not to {hello.machine_id[:8]}...: give this server another name, or release the "
                f"name with `hostpulse server forget {hello.server_name}`"
            )
            await self._audit(principal, hello, context, detail)
            raise _Refusal(grpc.StatusCode.PERMISSION_DENIED, detail)
        session = Session(
            context,
            hello=hello,
            claimed=answer,
            token=token,
            ingest=self._ingest,
            credits=self._credits,
            metrics=self._metrics,
            clock=self._clock,
        )
        session.answer(greeting.to_welcome(answer, self._clock.wall_ns()))
        return session

    async def _authenticate(self, context: Context) -> Principal:
        """Check the key that the call carries."""
        metadata = dict(context.invocation_metadata() or ())
        authorization = metadata.get("authorization")
        try:
            return await self._authenticator.authenticate(
                bearer(authorization if isinstance(authorization, str) else None)
            )
        except Unauthenticated as error:
            raise _Refusal(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error
        except errors.Retryable as error:
            raise _Refusal(RETRYABLE, str(error)) from error

    async def _read_hello(self, context: Context) -> pb.Hello:
        """Read the first message, which must be Hello."""
        expected = "expected Hello as the first message"
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                data = await context.read()
        except TimeoutError as error:
            detail = f"{expected} within {HELLO_TIMEOUT_S:g} s"
            raise _Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, detail) from error
        if data is grpc.aio.EOF:
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{expected}, got the end")
        try:
            request = pb.StreamRequest.FromString(data)
        except DecodeError as error:
            detail = f"{expected}, got something that is no StreamRequest"
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, detail) from error
        kind = request.WhichOneof("message")
        if kind != "hello":
            raise _Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"{expected}, got {kind}")
        return request.hello

    async def _audit(
        self, principal: Principal, hello: pb.Hello, context: Context, detail: str
    ) -> None:
        """Record a refused stream; one that can't be recorded is refused all the same."""
        log.warning("stream_refused", server=hello.server_name, peer=context.peer(), reason=detail)
        with contextlib.suppress(Exception):
            async with (
                asyncio.timeout(RELEASE_TIMEOUT_S),
                self._query_pool.acquire() as connection,
            ):
                await record(
                    connection,
                    actor=f"key {principal.prefix}",
                    action="stream.open",
                    subject=hello.server_name[:253],
                    allowed=False,
                    address=context.peer(),
                    detail={"reason": detail, "machine_id": hello.machine_id[:64]},
                )

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
