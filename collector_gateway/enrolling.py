"""The EnrollmentService: a new agent's first call, with a token in the place of a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import structlog
from google.protobuf.message import DecodeError

from collector_gateway.addresses import host_of
from collector_gateway.auth import AWAY
from collector_gateway.buckets import Limited
from collector_gateway.denials import Denial
from collector_gateway.greeting import FACT_MAX_CHARS, MACHINE_ID_MAX_CHARS
from collector_gateway.holding import pushback
from hostpulse.v1 import telemetry_pb2 as pb
from storage import audit, enrollments
from storage.servers import InvalidName, check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from collector_gateway.denials import Denials
    from collector_gateway.limits import Limits
    from collector_gateway.logins import Attempt
    from storage.database import Pool

    Context = grpc.aio.ServicerContext[bytes, bytes]

TIMEOUT_S = 5.0
REQUEST_MAX_BYTES = 8 * 1024
TOKEN_MAX_CHARACTERS = 256

log = structlog.get_logger()


class EnrollmentService:
    """Handles `GetAuthority` and `Enroll`.

    Args:
        pool: for queries.
        denials: is told who was turned away.
        limits: how often an address may call, and fail.
        read_authority: returns the private authority in PEM, None where there is none; may raise
            OSError and ValueError.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        denials: Denials,
        limits: Limits,
        read_authority: Callable[[], bytes | None],
    ) -> None:
        self._limits = limits
        self._pool = pool
        self._denials = denials
        self._read_authority = read_authority

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc.aio server is given."""
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            "hostpulse.v1.EnrollmentService",
            {"GetAuthority": unary(self._get_authority), "Enroll": unary(self._enroll)},  # pyright: ignore[reportArgumentType]
        )

    async def _get_authority(self, _request: bytes, context: Context) -> bytes:
        """Return the private authority, to anybody."""
        try:
            self._limits.admit_call(host_of(context.peer()))
        except Limited as error:
            await self._refuse(context, error)
        return pb.GetAuthorityResponse(
            ca_certificate=await self._authority(context)
        ).SerializeToString()

    async def _enroll(self, data: bytes, context: Context) -> bytes:
        """Exchange a token for a key; what is no token of ours counts as a failed login."""
        address = host_of(context.peer())
        audit.caller_address.set(address)
        try:
            self._limits.admit_call(address)
            async with self._limits.logins.attempt(address) as attempt:
                return await self._exchange(data, context, attempt)
        except Limited as error:
            await self._refuse(context, error)

    async def _refuse(self, context: Context, error: Limited) -> NoReturn:
        """Turn away who goes too fast, and say when to come again."""
        await self._limits.holding.hold()
        await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error), error.after_s)

    async def _exchange(self, data: bytes, context: Context, attempt: Attempt) -> bytes:
        """Look at a request and at its token."""
        if len(data) > REQUEST_MAX_BYTES:
            detail = f"expected at most {REQUEST_MAX_BYTES} bytes, got {len(data)}"
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, detail)
        try:
            request = pb.EnrollRequest.FromString(data)
        except DecodeError:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "expected an EnrollRequest")
        asker = await _asker(request, context)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._pool.acquire(timeout=TIMEOUT_S) as connection,
            ):
                answer = await enrollments.enroll(
                    connection, request.token[:TOKEN_MAX_CHARACTERS], asker
                )
        except InvalidName as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"server_name: {error}")
        except AWAY:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the database is away")
        if isinstance(answer, enrollments.Refused):
            attempt.fail()
            await self._deny(answer, asker, context)
        if isinstance(answer, enrollments.Pending):
            log.info("enrollment_pending", server=answer.server_name, machine=answer.fingerprint)
            await _abort(
                context,
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the server {answer.server_name!r} is known already: an admin has to approve the "
                f"machine {answer.fingerprint} (hostpulse server enrollments)",
            )
        log.info("enrolled", server=answer.server_name, address=asker.address)
        return pb.EnrollResponse(
            api_key=answer.key,
            server_name=answer.server_name,
            ca_certificate=await self._authority(context),
        ).SerializeToString()

    async def _authority(self, context: Context) -> bytes:
        """Read the authority; empty where there is none."""
        try:
            return self._read_authority() or b""
        except (OSError, ValueError) as error:
            log.warning("authority_unreadable", error=str(error))
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the authority can't be read")

    async def _deny(
        self, refused: enrollments.Refused, asker: enrollments.Asker, context: Context
    ) -> NoReturn:
        """Record a refusal, and say why."""
        token = refused.token_prefix
        await self._denials.note(
            Denial(
                actor=f"token {token}" if token else "(unknown)",
                action="server.enroll",
                subject=asker.server_name or asker.hostname,
                address=asker.address,
                detail={"reason": refused.reason},
            )
        )
        await _abort(context, grpc.StatusCode.PERMISSION_DENIED, refused.reason)


async def _asker(request: pb.EnrollRequest, context: Context) -> enrollments.Asker:
    """Check what a request says of its agent."""
    for field in ("machine_id", "agent_version", "hostname"):
        value = getattr(request, field)
        longest = MACHINE_ID_MAX_CHARS if field == "machine_id" else FACT_MAX_CHARS
        if len(value) > longest or not value.isprintable() or (field == "machine_id" and not value):
            await _abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"{field}: expected at most {longest} printable characters, got {value[:64]!r}",
            )
    try:
        if request.server_name:
            check_name(request.server_name)
    except InvalidName as error:
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"server_name: {error}")
    return enrollments.Asker(
        server_name=request.server_name or None,
        hostname=request.hostname,
        machine_id=request.machine_id,
        agent_version=request.agent_version,
        address=host_of(context.peer()),
    )


async def _abort(
    context: Context, code: grpc.StatusCode, detail: str, after_s: float | None = None
) -> NoReturn:
    """End the call with a status, and say when to come again where that is known."""
    await context.abort(code, detail, pushback(after_s))
    raise AssertionError("abort returned")  # for the type checker: it raises
