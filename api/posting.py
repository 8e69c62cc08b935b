"""POST /api/v1/metrics: samples from anything that can speak HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, bodies, documents, rows, samples
from api.cadence import Cadence
from hostpulse.clock import NS_PER_S
from storage import catalog, database, intervals, mounts, servers

if TYPE_CHECKING:
    from api.samples import Submission
    from collector_gateway.services import Services
    from storage.database import Connection


def router(services: Services) -> APIRouter:
    """Make the route."""
    routes = APIRouter()
    cadence = Cadence()

    async def post_metrics(request: Request) -> Response:
        """Store the samples of one server at one moment; 202 once they are durable."""
        access.require_writer(request)
        document = await bodies.read_json(request)
        now = datetime.fromtimestamp(services.clock.wall_ns() / NS_PER_S, UTC)
        submission = samples.parse(document, now=now)
        access.require_writer_of(request, submission.server_name)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await servers.find_or_create(
                connection, submission.server_name, watch_offline=False
            )
            devices = await _devices(connection, server_id, submission)
            interval_s = cadence.observe(server_id, submission.time)
            if interval_s is not None:
                families = submission.values
                await intervals.keep(connection, ((server_id, f, interval_s) for f in families))
        made = rows.make(submission, server_id=server_id, devices=devices)
        await services.store.store(server_id=server_id, rows=made)
        stored = {table: len(each) for table, each in made.items()}
        return JSONResponse(
            {"server_id": submission.server_name, "stored": stored}, HTTPStatus.ACCEPTED
        )

    routes.add_api_route(
        "/api/v1/metrics", post_metrics, methods=["POST"], openapi_extra=documents.POST_METRICS
    )
    return routes


async def _devices(
    connection: Connection, server_id: int, submission: Submission
) -> dict[str, str]:
    """Return the devices of the mounts whose traffic was posted, where an agent told them."""
    found = list(submission.values.get(catalog.DISK_IO.name, ()))
    if not found:
        return {}
    return await mounts.find_devices(
        connection,
        server_id,
        found,
        start=submission.time,
        end=submission.time + timedelta(hours=1),
    )
