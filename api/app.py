"""The HTTP API: routes, the door before them, and how they are served.

request -> RequireKey -> route -> storage (reading) | Store (writing)
                └─────────┴── every failure -> problem JSON
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

import hostpulse
from api import access, failures, health, listing, posting, reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.services import Services

# For whoever serves the application with uvicorn.
UVICORN_OPTIONS: Mapping[str, object] = MappingProxyType(
    {
        "server_header": False,
        "access_log": False,
        "lifespan": "off",
        "limit_concurrency": 1_000,  # connections and tasks; more are answered 503
        "timeout_keep_alive": 75,  # longer than the usual 60 s of those who post once a minute
        "h11_max_incomplete_event_size": 64 * 1024,  # of request line and headers
    }
)


def create(services: Services) -> FastAPI:
    """Build the application."""
    app = FastAPI(
        title="hostpulse",
        version=hostpulse.__version__,
        openapi_url=None,  # served below, behind the door
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    failures.install(app)
    app.add_middleware(access.RequireKey, authenticator=services.authenticator)
    for module in (posting, reading, listing, health):
        app.include_router(module.router(services))

    async def get_document(_request: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(app.openapi())

    app.add_api_route("/openapi.json", get_document, include_in_schema=False)
    return app
