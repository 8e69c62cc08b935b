"""/api/v1/enrollments: agents that ask for a name that is known, and an admin's answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, problems
from storage import database, enrollments

if TYPE_CHECKING:
    from collector_gateway.services import Services

NUMBER_MAX = 2**31 - 1


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_enrollments(request: Request) -> Response:
        """Return the requests that wait for an answer; with ?all=true all of the last year."""
        access.require_admin(request)
        everything = request.query_params.get("all") == "true"
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await enrollments.list_all(connection, everything=everything)
        return JSONResponse({"enrollments": [enrollments.describe(each) for each in found]})

    async def approve(request: Request, number: int) -> Response:
        """Let this machine have the name; the former keys of the name end when it comes."""
        return await _decide(request, number, approve=True)

    async def deny(request: Request, number: int) -> Response:
        """Turn this machine away."""
        return await _decide(request, number, approve=False)

    async def _decide(request: Request, number: int, *, approve: bool) -> Response:
        access.require_admin(request)
        try:
            if not 0 < number <= NUMBER_MAX:
                raise enrollments.UnknownEnrollment
            async with services.query_pool.acquire(
                timeout=database.ACQUIRE_TIMEOUT_S
            ) as connection:
                decided = await enrollments.decide(
                    connection,
                    number,
                    approve=approve,
                    decided_by=access.principal(request).actor,
                )
        except enrollments.UnknownEnrollment as error:
            detail = "no enrolment of this number is pending"
            raise problems.Problem(HTTPStatus.NOT_FOUND, detail) from error
        return JSONResponse(enrollments.describe(decided))

    path = "/api/v1/enrollments/{number:int}"
    routes.add_api_route("/api/v1/enrollments", get_enrollments)
    routes.add_api_route(f"{path}/approve", approve, methods=["POST"])
    routes.add_api_route(f"{path}/deny", deny, methods=["POST"])
    return routes
