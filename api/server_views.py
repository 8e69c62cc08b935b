"""What the page of one server asks for: /history, /timeline, /processes and /disks."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import Response  # noqa: TC002 - the same

from api import access, answers, problems, times
from api.reading import unknown_server
from hostpulse.clock import NS_PER_S
from storage import database, disks, history, processes, servers, timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector_gateway.services import Services
    from storage.database import Connection

POINTS_DEFAULT = 600
PATH = "/api/v1/servers/{name:path}"
CORES = "cores"


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    pool = services.query_pool

    def now() -> datetime:
        return datetime.fromtimestamp(services.clock.wall_ns() / NS_PER_S, UTC)

    async def get_history(request: Request) -> Response:
        """Return the columns of one family in [from, to), thinned out to about `points`."""
        access.require_reader(request)
        given = parameters(request, "family", "columns", "from", "to", "points")
        family = given.get("family", "")
        if family != CORES and family not in history.FAMILIES:
            expected = f"one of {', '.join((*history.FAMILIES, CORES))}"
            raise problems.wrong_query("family", expected=expected, got=family)
        table = history.FAMILIES["cpu" if family == CORES else family]
        known_columns = [] if family == CORES else history.columns_of(table)
        columns = _columns(given.get("columns"), known_columns)
        start, end = time_range(given)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            query = history.Query(
                table=table,
                columns=columns,
                server_id=await known(connection, request),
                start=start,
                end=end,
                points=_points(given.get("points")),
                cores=family == CORES,
            )
            answer = await history.read(connection, query, now=now())
        return answers.respond(
            request,
            {
                "family": family,
                "tier": answer.tier,
                "step_s": answer.step_s,
                "times": answer.moments,
                "series": [
                    {"labels": part.labels, "columns": part.columns} for part in answer.parts
                ],
            },
        )

    async def get_timeline(request: Request) -> Response:
        """Return the alerts that fired in [from, to), and what happened: boots, new config."""
        access.require_reader(request)
        start, end = time_range(parameters(request, "from", "to"))
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await known(connection, request)
            bands = await timeline.bands(connection, server_id, start=start, end=end)
            marks = await timeline.marks(connection, server_id, start=start, end=end)
        return answers.respond(
            request,
            {
                "alerts": [show(band) for band in bands],
                "marks": [show(mark) for mark in marks],
            },
        )

    async def get_processes(request: Request) -> Response:
        """Return the top 10 at a moment (now, or `at`), or over [from, to)."""
        access.require_reader(request)
        given = parameters(request, "at", "from", "to", "by")
        by = given.get("by", "cpu")
        if by not in set(processes.By):
            raise problems.wrong_query("by", expected="cpu or memory", got=by)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await known(connection, request)
            if "from" in given or "to" in given:
                start, end = time_range(given)
                found = await processes.between(
                    connection, server_id, start=start, end=end, by=processes.By(by)
                )
            else:
                moment = time_of("at", given["at"]) if "at" in given else now()
                found = await processes.at(
                    connection, server_id, moment=moment, by=processes.By(by)
                )
        return answers.respond(request, {"processes": [show(each) for each in found]})

    async def get_disks(request: Request) -> Response:
        """Return the filesystems as they are now, with the hours until each is full."""
        access.require_reader(request)
        parameters(request)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await known(connection, request)
            found = await disks.read(connection, server_id, now=now())
        return answers.respond(request, {"disks": [show(each) for each in found]})

    routes.add_api_route(f"{PATH}/history", get_history)
    routes.add_api_route(f"{PATH}/timeline", get_timeline)
    routes.add_api_route(f"{PATH}/processes", get_processes)
    routes.add_api_route(f"{PATH}/disks", get_disks)
    return routes


async def known(connection: Connection, request: Request) -> int:
    """Return the id of the server in the path.

    Raises:
        Problem: 404.
    """
    name = request.path_params["name"]
    try:
        servers.check_name(name)
    except servers.InvalidName as error:
        raise unknown_server(name) from error
    server_id = await servers.find_id(connection, name)
    if server_id is None:
        raise unknown_server(name)
    return server_id


def parameters(request: Request, *names: str) -> dict[str, str]:
    """Return the parameters of the query; each is known, and given once.

    Raises:
        Problem: 400.
    """
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in names:
            expected = f"one of {', '.join(names)}" if names else "no parameter"
            raise problems.wrong_query(name[:100], expected=expected, got="an unknown one")
        if name in given:
            raise problems.wrong_query(name, expected="given once", got=value)
        given[name] = value
    return given


def time_range(given: Mapping[str, str]) -> tuple[datetime, datetime]:
    """Read `from` and `to`.

    Raises:
        Problem: 400.
    """
    start, end = (time_of(name, given.get(name, "")) for name in ("from", "to"))
    if start >= end:
        expected = f"before to, {times.format_time(end)}"
        raise problems.wrong_query("from", expected=expected, got=given["from"])
    return start, end


def time_of(name: str, text: str) -> datetime:
    """Read a moment.

    Raises:
        Problem: 400.
    """
    moment = times.parse_time(text)
    if moment is None:
        raise problems.wrong_query(name, expected=times.TIME, got=text)
    return moment


def show(
    value: timeline.Band | timeline.Mark | processes.Process | disks.Disk,
) -> dict[str, object]:
    """Return one of these as JSON; times as RFC 3339."""
    return {
        name.removesuffix("_time"): times.format_time(each) if isinstance(each, datetime) else each
        for name, each in dataclasses.asdict(value).items()
    }


def _columns(text: str | None, known: Sequence[str]) -> list[str] | None:
    """Read which columns of a family are wanted; None for all."""
    if text is None:
        return None
    columns = text.split(",")
    for name in columns:
        if name not in known:
            expected = f"some of {', '.join(known)}, with commas" if known else "absent for cores"
            raise problems.wrong_query("columns", expected=expected, got=text[:200])
    return columns


def _points(text: str | None) -> int:
    if text is None:
        return POINTS_DEFAULT
    if not text.isascii() or not text.isdecimal() or not 10 <= int(text[:9]) <= history.POINTS_MAX:
        raise problems.wrong_query(
            "points", expected=f"a number from 10 to {history.POINTS_MAX}", got=text
        )
    return int(text)
