"""GET /api/v1/database: engine, sizes, retention and lag, as `hostpulse db status` has them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import Response  # noqa: TC002 - the same

from api import access, answers, times
from api.server_views import parameters
from storage import database, status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services


def router(services: Services) -> APIRouter:
    """Make the route."""
    routes = APIRouter()

    async def get_database(request: Request) -> Response:
        """Return what there is to say about the database."""
        access.require_admin(request)
        parameters(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await status.collect(connection)
        return answers.respond(request, show(found))

    routes.add_api_route("/api/v1/database", get_database)
    return routes


def show(found: status.Status) -> dict[str, object]:
    """Return a status as JSON; spans are seconds."""
    return {
        **asdict(found.software),
        "retention": {name: span.total_seconds() for name, span in found.retention.tiers.items()},
        "rollup_lag_s": found.rollup_lag_s,
        "sizes": [
            _plain(asdict(size))
            | {"total_bytes": size.total_bytes, "bytes_per_value": size.bytes_per_value}
            for size in found.sizes
        ],
        "due": [_plain(asdict(each)) for each in found.due],
    }


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Write times and spans into JSON."""
    return {
        name: times.format_time(value)
        if isinstance(value, datetime)
        else value.total_seconds()
        if isinstance(value, timedelta)
        else value
        for name, value in values.items()
    }
