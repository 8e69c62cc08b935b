"""Whether the gateway lives, whether it can work, and what it counts."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import prometheus_client
from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, alert_metrics
from collector_gateway.services import Readiness

if TYPE_CHECKING:
    from collector_gateway.services import Services

READINESS_TIMEOUT_S = 5.0


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_health() -> Response:
        """Say that the process answers; needs no key."""
        return JSONResponse({"status": "ok"})

    async def get_readiness() -> Response:
        """Say whether samples can be taken and read, and if not, why; needs no key."""
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_S):
                found = await services.readiness()
        except TimeoutError:
            reason = f"the check took longer than {READINESS_TIMEOUT_S:g} s"
            found = Readiness(ready=False, reasons=(reason,))
        return JSONResponse(
            {"ready": found.ready, "reasons": list(found.reasons)},
            HTTPStatus.OK if found.ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def get_own_metrics(request: Request) -> Response:
        """Return what this gateway and all alert workers count, in Prometheus' text format."""
        access.require_reader(request)
        content = prometheus_client.generate_latest(services.registry)
        content += await alert_metrics.render(services.query_pool)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    for path, route in (("/healthz", get_health), ("/readyz", get_readiness)):
        routes.add_api_route(path, route)
        routes.add_api_route(path, route, methods=["HEAD"], include_in_schema=False)
    routes.add_api_route("/metrics", get_own_metrics)
    return routes
