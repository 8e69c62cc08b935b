"""PUT /api/v1/servers/{name}/labels: what a server is called by besides its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, bodies, documents
from api.reading import unknown_server
from api.rules import refusal
from hostpulse import errors
from storage import database, labelling, servers

if TYPE_CHECKING:
    from collector_gateway.services import Services


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def put_labels(request: Request) -> Response:
        """Give a server these labels and no others: {"labels": {"env": "prod"}}.

        Rules, silences and config choose servers by them, and follow at once.
        """
        access.require_admin(request)
        name = request.path_params["name"]
        try:
            servers.check_name(name)
            given = _read(await bodies.read_json(request))
            async with services.query_pool.acquire(
                timeout=database.ACQUIRE_TIMEOUT_S
            ) as connection:
                labels = await labelling.replace(
                    connection,
                    name,
                    given,
                    labelled_by=access.principal(request).actor,
                )
        except servers.InvalidName as error:
            raise unknown_server(name) from error
        except errors.ConfigError as error:
            raise refusal(error) from error
        if labels is None:
            raise unknown_server(name)
        return JSONResponse({"server_id": name, "labels": labels})

    routes.add_api_route(
        "/api/v1/servers/{name:path}/labels",
        put_labels,
        methods=["PUT"],
        openapi_extra=documents.PUT_LABELS,
    )
    return routes


def _read(raw: object) -> dict[str, str]:
    """Read the body; that labels can be labels is checked where they are stored."""
    body = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    given = body.get("labels")
    if set(body) != {"labels"} or not isinstance(given, dict):
        raise errors.ConfigError("body", expectation='{"labels": {…}}', value=raw)
    for key, value in cast("dict[str, object]", given).items():
        if not isinstance(value, str):
            raise errors.ConfigError(f"label {key[:100]}", expectation="a text", value=value)
    return cast("dict[str, str]", given)
