"""The HTTP API: its routes, and the door before them.

request -> RequireKey -> route -> storage (reading) | Store (writing)
                └─────────┴── every failure -> problem JSON
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

import hostpulse
from api import (
    access,
    ack_page,
    alerts,
    audit_log,
    capacity,
    channels,
    configs,
    database_status,
    enrollments,
    failures,
    health,
    keys,
    labels,
    limiting,
    listing,
    missing,
    overview,
    page,
    posting,
    reading,
    rules,
    server_views,
    sessions,
    signing_in,
    silences,
)

if TYPE_CHECKING:
    from collector_gateway.services import Services


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
    signed_in = sessions.Sessions(services.query_pool, clock=services.clock)
    if services.limits is not None:
        app.add_middleware(limiting.LimitKey, limits=services.limits)
    app.add_middleware(
        access.RequireKey,
        authenticator=services.authenticator,
        denied=services.denials,
        signed_in=signed_in,
    )
    if services.limits is not None:  # added last, and so asked first
        app.add_middleware(limiting.LimitAddress, limits=services.limits)
    for module in (
        posting,
        reading,
        missing,
        overview,
        server_views,
        capacity,
        database_status,
        configs,
        labels,
        listing,
        alerts,
        silences,
        rules,
        keys,
        enrollments,
        audit_log,
        channels,
        ack_page,
        health,
    ):
        app.include_router(module.router(services))
    app.include_router(signing_in.router(services, signed_in))
    app.include_router(page.router())

    async def get_document(_request: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(app.openapi())

    app.add_api_route("/openapi.json", get_document, include_in_schema=False)
    return app
