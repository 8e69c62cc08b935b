"""/api/v1/session: sign in with a link or a key, see who is signed in, sign out."""

from __future__ import annotations

from contextlib import nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, bodies, documents, limiting, problems, sessions
from collector_gateway import denials
from collector_gateway.logins import Attempt
from collector_gateway.principals import Principal, Unauthenticated
from storage import web_sessions

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from collector_gateway.services import Services

NO_STORE = {"Cache-Control": "no-store"}
CREDENTIAL_MAX_CHARACTERS = 4096


def router(services: Services, signed_in: sessions.Sessions) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_session(request: Request) -> Response:
        """Return whose session a browser has, if any."""
        try:
            who = await signed_in.authenticate(request)
        except Unauthenticated:
            who = None
        return JSONResponse(_show(who), headers=NO_STORE)

    async def post_session(request: Request) -> Response:
        """Sign in with {"link": token} or {"key": key}: the answer sets a cookie."""
        sessions.require_page(request)
        name, credential = _credential(await bodies.read_json(request))
        try:
            token = await (by_link if name == "link" else by_key)(request, credential)
        except problems.Problem as refusal:
            await note(request, name, refusal.detail)
            raise
        answer = JSONResponse({"signed_in": True}, headers=NO_STORE)
        sessions.set_cookie(answer, request, token)
        return answer

    async def by_link(request: Request, link: str) -> str:
        """Begin a session with a link; a wrong one counts as a failed login of its address."""
        async with attempt_of(limiting.address_of(request.scope)) as attempt:
            token = await signed_in.begin_by_link(link)
            if token is None:
                attempt.fail()
        if token is None:
            detail = "this link is unknown, used or older than 15 minutes"
            raise problems.Problem(HTTPStatus.GONE, detail)
        return token

    def attempt_of(address: str) -> AbstractAsyncContextManager[Attempt]:
        limits = services.limits
        return nullcontext(Attempt()) if limits is None else limits.logins.attempt(address)

    async def by_key(request: Request, key: str) -> str:
        """Begin a session with a key; a wrong one counts as above."""
        address = limiting.address_of(request.scope)
        try:
            who = await services.authenticator.authenticate(key, address=address)
        except Unauthenticated as error:
            raise problems.Problem(HTTPStatus.FORBIDDEN, str(error)) from error
        if who.key_id is None:
            detail = "a token can't sign in: take a key"
            raise problems.Problem(HTTPStatus.FORBIDDEN, detail)
        if who.role not in web_sessions.PEOPLE:
            detail = f"a key of role {who.role} is not for people: take one of role reader"
            raise problems.Problem(HTTPStatus.FORBIDDEN, detail)
        return await signed_in.begin(who.key_id, actor=who.actor)

    async def note(request: Request, name: str, reason: str) -> None:
        """Tell the audit log of an attempt that failed."""
        if services.denials is not None:
            await services.denials.note(
                denials.Denial(
                    actor="(unknown)",
                    action="session.begin",
                    subject=None,
                    address=limiting.address_of(request.scope) or None,
                    detail={"by": name, "reason": reason},
                )
            )

    async def delete_session(request: Request) -> Response:
        """Sign out; without a session nothing happens."""
        sessions.require_page(request)
        if token := request.cookies.get(sessions.COOKIE):
            await signed_in.end(token)
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        sessions.delete_cookie(answer)
        return answer

    routes.add_api_route(access.SIGN_IN_PATH, get_session)
    routes.add_api_route(
        access.SIGN_IN_PATH, post_session, methods=["POST"], openapi_extra=documents.POST_SESSION
    )
    routes.add_api_route(access.SIGN_IN_PATH, delete_session, methods=["DELETE"])
    return routes


def _show(who: Principal | None) -> dict[str, object]:
    if who is None:
        return {"signed_in": False}
    return {"signed_in": True, "key": who.prefix, "role": who.role, "is_admin": who.is_admin}


def _credential(raw: object) -> tuple[str, str]:
    """Read the one member of the body."""
    body = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    for name in ("link", "key"):
        value = body.get(name)
        if len(body) == 1 and isinstance(value, str) and len(value) <= CREDENTIAL_MAX_CHARACTERS:
            return name, value.strip()
    raise problems.Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, 'the body must be {"link": "…"} or {"key": "…"}'
    )
