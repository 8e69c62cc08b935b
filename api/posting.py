"""POST /api/v1/metrics: samples from anything that can speak HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, bodies, documents, limiting, repeats, rows, samples
from api.cadence import Cadence
from collector_gateway import limits
from collector_gateway.buckets import Limited
from hostpulse.clock import NS_PER_S
from storage import catalog, database, intervals, mounts, requests, servers

if TYPE_CHECKING:
    from api.samples import Submission
    from collector_gateway.services import Services
    from storage.database import Connection


def router(services: Services) -> APIRouter:
    """Make the route."""
    routes = APIRouter()
    cadence = Cadence()

    async def post_metrics(request: Request) -> Response:
        """Store the samples of one server at one moment, once; 202 when they are durable."""
        access.require_writer(request)
        document = await bodies.read_json(request)
        now = datetime.fromtimestamp(services.clock.wall_ns() / NS_PER_S, UTC)
        submission = samples.parse(document, now=now)
        access.require_writer_of(request, submission.server_name)
        _admit(services, submission)
        digest = repeats.digest_of(document)
        key = repeats.key_of(request, digest)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await servers.find_or_create(
                connection, submission.server_name, watch_offline=False
            )
            if (known := await requests.find(connection, server_id, key)) is not None:
                return repeats.answer(known, digest)
            devices = await _devices(connection, server_id, submission)
            interval_s = cadence.observe(server_id, submission.time)
            if interval_s is not None:
                families = submission.values
                await intervals.keep(connection, ((server_id, f, interval_s) for f in families))
        made = rows.make(submission, server_id=server_id, devices=devices)
        stored = {table: len(each) for table, each in made.items()}
        first = requests.Request(
            key=key,
            body_sha256=digest,
            status=HTTPStatus.ACCEPTED,
            response={"server_id": submission.server_name, "stored": stored},
        )
        is_new = await services.store.store(
            server_id=server_id, rows=made, taken=submission.time, request=first
        )
        if is_new:
            return JSONResponse(first.response, first.status)
        # Somebody was quicker with the same key: another gateway, or another connection.
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            known = await requests.find(connection, server_id, key)
        return repeats.answer(known or first, digest)

    routes.add_api_route(
        "/api/v1/metrics", post_metrics, methods=["POST"], openapi_extra=documents.POST_METRICS
    )
    return routes


def _admit(services: Services, submission: Submission) -> None:
    """Count the samples of a server, whichever way they come.

    Raises:
        Problem: there were too many.
    """
    if services.limits is None:
        return
    samples = sum(len(each) for each in submission.values.values())
    try:
        services.limits.admit_post(submission.server_name, limits.weigh(0, samples))
    except Limited as error:
        raise limiting.too_fast(error) from error


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
