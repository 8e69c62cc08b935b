"""GET /api/v1/audit: who did what, and what was denied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, documents, problems, times
from storage import audit, database

if TYPE_CHECKING:
    from collector_gateway.services import Services

PARAMETERS = ("since", "actor", "action", "limit", "before")
LIMIT_DEFAULT = 100
ID_MAX = 2**63 - 1
NUMBER_MAX_DIGITS = 19


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_audit(request: Request) -> Response:
        """Return the newest entries first; `before` an id goes on from there."""
        access.require_admin(request)
        given = request.query_params
        for name in given:
            if name not in PARAMETERS or len(given.getlist(name)) > 1:
                expected = f"one each of {', '.join(PARAMETERS)}"
                raise problems.wrong_query(name[:100], expected=expected, got=name)
        since = None
        if (text := given.get("since")) is not None:
            since = times.parse_time(text)
            if since is None:
                raise problems.wrong_query("since", expected=times.TIME, got=text)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await audit.find(
                connection,
                since=since,
                actor=_text(given.get("actor")),
                action=_text(given.get("action")),
                limit=_number("limit", given.get("limit"), audit.LIMIT_MAX) or LIMIT_DEFAULT,
                before=_number("before", given.get("before"), ID_MAX),
            )
        return JSONResponse({"audit": [audit.describe(each) for each in found]})

    routes.add_api_route("/api/v1/audit", get_audit, openapi_extra=documents.GET_AUDIT)
    return routes


def _text(given: str | None) -> str | None:
    """Drop what no text of the database can hold: it equals nothing, and is no error."""
    return None if given is None else given.replace("\0", "�")


def _number(name: str, given: str | None, highest: int) -> int | None:
    """Read a whole number from 1.

    Raises:
        Problem: it is none.
    """
    if given is None:
        return None
    digits = given.isascii() and given.isdecimal() and len(given) <= NUMBER_MAX_DIGITS
    if not digits or not 1 <= int(given) <= highest:
        raise problems.wrong_query(name, expected=f"1 to {highest}", got=given)
    return int(given)
