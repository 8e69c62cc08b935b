"""GET /api/v1/capacity: the 95th percentile of each server, and the days until a limit is met."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import Response  # noqa: TC002 - the same

from api import access, answers
from api.server_views import parameters
from storage import capacity, database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector_gateway.services import Services

LIVES_S = 600.0  # hours change once an hour


def router(services: Services) -> APIRouter:
    """Make the route."""
    routes = APIRouter()
    lock = asyncio.Lock()
    body: dict[str, object] = {}
    until_s = 0.0

    async def get_capacity(request: Request) -> Response:
        """Return all servers, read at most every 10 minutes."""
        nonlocal body, until_s
        access.require_reader(request)
        parameters(request)
        async with lock:  # one reads, the others wait for the same
            if time.monotonic() >= until_s:
                async with services.query_pool.acquire(
                    timeout=database.ACQUIRE_TIMEOUT_S
                ) as connection:
                    found = await capacity.read(connection)
                body = show(found)
                until_s = time.monotonic() + LIVES_S
        return answers.respond(request, body)

    routes.add_api_route("/api/v1/capacity", get_capacity)
    return routes


def show(servers: Sequence[capacity.Server]) -> dict[str, object]:
    """Return the answer."""
    return {
        "days": capacity.DAYS,
        "limits": dict(capacity.LIMITS),
        "servers": [{"server_id": each.name, **_uses(each)} for each in servers],
    }


def _uses(server: capacity.Server) -> dict[str, object]:
    return {
        kind: {
            "p95": _rounded(use.p95),
            "days_left": _rounded(use.days_left),
            "mount": use.mount,
        }
        for kind, use in server.uses.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 1)
