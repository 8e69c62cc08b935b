"""GET /api/v1/servers: which servers there are, and what is known of each."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, documents, problems, times
from api.reading import unknown_server
from storage import database, servers

if TYPE_CHECKING:
    from collector_gateway.services import Services


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_servers(request: Request) -> Response:
        """Return all servers by name."""
        access.require_reader(request)
        _no_parameters(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await servers.list_all(connection)
        return JSONResponse({"servers": [show(server) for server in found]})

    async def get_server(request: Request) -> Response:
        """Return one server."""
        access.require_reader(request)
        _no_parameters(request)
        name = request.path_params["name"]
        try:
            servers.check_name(name)
        except servers.InvalidName as error:
            raise unknown_server(name) from error
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await servers.find(connection, name)
        if found is None:
            raise unknown_server(name)
        return JSONResponse(show(found))

    routes.add_api_route("/api/v1/servers", get_servers)
    routes.add_api_route(
        "/api/v1/servers/{name:path}", get_server, openapi_extra=documents.GET_SERVER
    )
    return routes


def show(server: servers.Server) -> dict[str, object]:
    """Return a server as JSON; `server_id` is its name."""
    return {
        "server_id": server.name,
        "status": server.status,
        "status_reason": server.status_reason,
        "last_seen": _time(server.last_seen),
        "created_at": _time(server.created_at),
        "agent_version": server.agent_version,
        "labels": server.labels,
        "watch_offline": server.watch_offline,
        "clock_offset_ms": server.clock_offset_ms,
        "clock_is_wrong": server.clock_is_wrong,
        "facts": {
            name: _time(value) if isinstance(value, datetime) else value
            for name, value in server.facts.items()
            if value is not None
        },
    }


def _time(moment: datetime | None) -> str | None:
    return times.format_time(moment) if moment else None


def _no_parameters(request: Request) -> None:
    """Refuse parameters: one that is misspelt elsewhere must not be ignored here."""
    for name in request.query_params:
        error = problems.FieldError(
            field=name[:100], expected="no parameter", got="an unknown parameter"
        )
        raise problems.Problem(
            HTTPStatus.BAD_REQUEST, "this path takes no parameters", errors=[error]
        )
