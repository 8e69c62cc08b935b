"""GET /api/v1/overview and /api/v1/events: the fleet at a glance, and what changes of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import Response  # noqa: TC002 - the same

from api import access, answers, problems
from api.fleet import Fleet, Snapshot
from api.streams import EventStream, follow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from collector_gateway.services import Services

STREAMS_MAX = 200  # of the gateway's 500 connections


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    fleet = Fleet(services)
    streams: set[object] = set()

    async def get_overview(request: Request) -> Response:
        """Return all servers with their state, newest values and sparklines, and recent alerts."""
        access.require_reader(request)
        return answers.respond(request, whole(await fleet.snapshot()))

    async def get_events(request: Request) -> Response:
        """Stream what changes of the overview since ?seen=, as server-sent events."""
        access.require_reader(request)
        if len(streams) >= STREAMS_MAX:
            detail = f"this gateway serves {STREAMS_MAX} streams at once"
            raise problems.Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "30"}
            )
        seen: Snapshot | None = fleet.find(_seen(request))

        async def look() -> dict[str, object]:
            nonlocal seen
            before, seen = seen, await fleet.snapshot()
            return delta(before, seen)

        async def stream() -> AsyncGenerator[bytes]:
            mark = object()
            streams.add(mark)
            try:
                events = follow(
                    look, lambda: access.recheck(request), services.stopping, name="overview"
                )
                async for event in events:
                    yield event
            finally:
                streams.discard(mark)

        return EventStream(stream())

    routes.add_api_route("/api/v1/overview", get_overview)
    routes.add_api_route("/api/v1/events", get_events)
    return routes


def whole(snapshot: Snapshot) -> dict[str, object]:
    """Return everything of a snapshot."""
    return {
        "servers": [
            {**server, "sparklines": snapshot.sparklines.get(name, {})}
            for name, server in snapshot.servers.items()
        ],
        "fleet": snapshot.fleet,
        "alerts": snapshot.alerts,
        "snapshot": snapshot.number,
    }


def _seen(request: Request) -> int | None:
    """Return the snapshot that a page has read; what is no number is none."""
    text = request.query_params.get("seen", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def delta(before: Snapshot | None, after: Snapshot) -> dict[str, object]:
    """Return what is new: servers that changed, names that are gone, the rest if it changed."""
    if before is after:
        return {}
    known = before.servers if before else {}
    answer: dict[str, object] = {}
    if changed := [each for name, each in after.servers.items() if known.get(name) != each]:
        answer["servers"] = changed
    if gone := [name for name in known if name not in after.servers]:
        answer["gone"] = gone
    if before is None or before.fleet != after.fleet:
        answer["fleet"] = after.fleet
    if before is None or before.alerts != after.alerts:
        answer["alerts"] = after.alerts
    return answer
