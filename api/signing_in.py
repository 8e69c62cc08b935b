"""/api/v1/session: sign in with a link or a key, see who is signed in, sign out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, bodies, limiting, problems, sessions
from collector_gateway.principals import Principal, Unauthenticated
from storage import web_sessions

if TYPE_CHECKING:
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
        address = request.client.host if request.client else None
        if name == "link":
            key_id = await signed_in.take_link(credential)
            if key_id is None:
                detail = "this link is unknown, used or older than 15 minutes"
                raise problems.Problem(HTTPStatus.GONE, detail)
            actor = "sign-in link"
        else:
            try:
                who = await services.authenticator.authenticate(
                    credential, address=limiting.address_of(request.scope)
                )
            except Unauthenticated as error:
                raise problems.Problem(HTTPStatus.FORBIDDEN, str(error)) from error
            if who.key_id is None:
                detail = "a token can't sign in: take a key"
                raise problems.Problem(HTTPStatus.FORBIDDEN, detail)
            if who.role not in web_sessions.PEOPLE:
                detail = f"a key of role {who.role} is not for people: take one of role reader"
                raise problems.Problem(HTTPStatus.FORBIDDEN, detail)
            key_id, actor = who.key_id, who.actor
        token = await signed_in.begin(key_id, actor=actor, address=address)
        answer = JSONResponse({"signed_in": True}, headers=NO_STORE)
        sessions.set_cookie(answer, request, token)
        return answer

    async def delete_session(request: Request) -> Response:
        """Sign out; without a session nothing happens."""
        sessions.require_page(request)
        if token := request.cookies.get(sessions.COOKIE):
            await signed_in.end(token)
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        sessions.delete_cookie(answer)
        return answer

    routes.add_api_route(access.SIGN_IN_PATH, get_session)
    routes.add_api_route(access.SIGN_IN_PATH, post_session, methods=["POST"])
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
