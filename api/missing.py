"""GET /api/v1/servers/{name}/loss: what is missing of a server's samples, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, documents, problems, times
from api.reading import unknown_server
from storage import database, losses, servers

if TYPE_CHECKING:
    from datetime import datetime

    from collector_gateway.services import Services


def router(services: Services) -> APIRouter:
    """Make the route."""
    routes = APIRouter()

    async def get_loss(request: Request) -> Response:
        """Return the gaps of a server, the newest first."""
        access.require_reader(request)
        since = _since(request)
        name = request.path_params["name"]
        try:
            servers.check_name(name)
        except servers.InvalidName as error:
            raise unknown_server(name) from error
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            counts = await losses.count(connection, name, since=since)
            found = await losses.find(connection, name, since=since)
        if not counts:
            raise unknown_server(name)
        (count,) = counts
        return JSONResponse(
            {
                "server_id": name,
                "lost_batches": count.lost,
                "parked_batches": count.parked,
                "pending_batches": count.pending,
                "gaps": [show(gap) for gap in found],
            }
        )

    routes.add_api_route(
        "/api/v1/servers/{name:path}/loss", get_loss, openapi_extra=documents.GET_LOSS
    )
    return routes


def show(gap: losses.Loss) -> dict[str, object]:
    """Return a gap as JSON; an epoch is text, because it does not fit the numbers of JavaScript."""
    return {
        "state": gap.state,
        "reason": gap.reason,
        "detail": gap.detail,
        "batches": gap.batches,
        "from": times.format_time(gap.from_time) if gap.from_time else None,
        "to": times.format_time(gap.to_time) if gap.to_time else None,
        "epoch": str(gap.epoch),
        "first_seq": gap.first_seq,
        "last_seq": gap.last_seq,
    }


def _since(request: Request) -> datetime | None:
    """Read the only parameter."""
    values = request.query_params.getlist("since")
    unknown = [name for name in request.query_params if name != "since"]
    if unknown:
        raise problems.wrong_query(unknown[0][:100], expected="only since", got="an unknown one")
    if not values:
        return None
    moment = times.parse_time(values[0])
    if moment is None or len(values) > 1:
        raise problems.wrong_query("since", expected=times.TIME, got=", ".join(values))
    return moment
