"""The door: without a key nothing but health is answered, not even that a path is unknown."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request

from api import failures, limiting, page, problems
from collector_gateway import auth, denials
from collector_gateway.buckets import Limited
from collector_gateway.principals import Principal, Unauthenticated
from hostpulse import errors
from storage import audit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.sessions import Sessions

SIGN_IN_PATH = "/api/v1/session"
OPEN_PATHS = frozenset({"/healthz", "/readyz", SIGN_IN_PATH})
OPEN_PREFIX = "/ack/"  # links of messages, which bring a token of their own
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="hostpulse"'}


class RequireKey:
    """ASGI middleware that finds out who is calling, and turns away who does not say.

    Whoever is turned away, here (401) or behind (403), is noted for the audit log.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: auth.Authenticator,
        denied: denials.Denials | None,
        signed_in: Sessions,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._denied = denied
        self._signed_in = signed_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        audit.caller_address.set(limiting.address_of(scope) or None)
        if scope["type"] == "http" and not _is_open(scope["path"]):
            request = Request(scope)
            try:
                principal = await self._caller(request)
            except Unauthenticated as error:
                await self._note(scope, None, str(error))
                refusal = problems.Problem(HTTPStatus.UNAUTHORIZED, str(error), headers=CHALLENGE)
            except Limited as error:
                refusal = limiting.too_fast(error)
            except errors.Retryable as error:
                refusal = failures.retry_later(str(error), error.after_s)
            except problems.Problem as error:
                refusal = error
            else:
                request.state.principal = principal
                request.state.recheck = lambda: self._caller(request)
                return await self._watched(scope, receive, send, principal)
            return await problems.response(refusal)(scope, receive, send)
        return await self._app(scope, receive, send)

    async def _caller(self, request: Request) -> Principal:
        """Return who is calling: by the key that they bring, else by their session."""
        credential = _credential(request)
        session = None if credential else await self._signed_in.authenticate(request)
        return session or await self._authenticator.authenticate(
            credential, address=limiting.address_of(request.scope)
        )

    async def _watched(self, scope: Scope, receive: Receive, send: Send, who: Principal) -> None:
        """Answer somebody who is known, and note what they may not do."""

        async def watch(message: Message) -> None:
            if (
                message["type"] == "http.response.start"
                and message["status"] == HTTPStatus.FORBIDDEN
            ):
                await self._note(scope, who, "forbidden")
            await send(message)

        await self._app(scope, receive, watch)

    async def _note(self, scope: Scope, who: Principal | None, reason: str) -> None:
        """Tell the audit log; what strangers ask for is not told apart."""
        if self._denied is None:
            return
        subject = None
        if who is not None:
            route = scope.get("route")  # the template: names in a path are anybody's choice
            subject = f"{scope['method']} {getattr(route, 'path', scope['path'])}"
        await self._denied.note(
            denials.Denial(
                actor=who.actor if who else "(unknown)",
                action="http.request",
                subject=subject,
                address=limiting.address_of(scope) or None,
                detail={"reason": reason},
            )
        )


def _is_open(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX) or page.is_open(path)


def _credential(request: Request) -> str | None:
    """Return the key that a request brings; `Authorization` wins."""
    authorization = request.headers.get("authorization")
    return auth.bearer(authorization) if authorization else request.headers.get("x-api-key")


def principal(request: Request) -> Principal:
    """Return who is calling."""
    return request.state.principal


async def recheck(request: Request) -> Principal:
    """Find out anew who is calling, for an answer that takes long.

    Raises:
        Unauthenticated: the key or the session has ended meanwhile.
        Retryable: the database can't be asked.
    """
    return await request.state.recheck()


def require_reader(request: Request) -> None:
    """Refuse who may not read."""
    if not principal(request).may_read:
        raise _forbidden(f"a key of role {principal(request).role} may not read")


def require_admin(request: Request) -> None:
    """Refuse who may not decide what is watched, who is told, and who may do what."""
    if not principal(request).is_admin:
        raise _forbidden(f"a key of role {principal(request).role} may not change this")


def require_writer(request: Request) -> None:
    """Refuse who may not write for any server."""
    who = principal(request)
    if not (who.is_admin or who.server_names):
        raise _forbidden(f"a key of role {who.role} may not write")


def require_writer_of(request: Request, server_name: str) -> None:
    """Refuse who may not write for this server."""
    if not principal(request).may_write(server_name):
        raise _forbidden(f"this key is not for server {problems.shown(server_name)}")


def _forbidden(detail: str) -> problems.Problem:
    return problems.Problem(HTTPStatus.FORBIDDEN, detail)
