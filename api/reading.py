"""GET /api/v1/metrics: the history of one metric of one server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response, StreamingResponse

from api import access, documents, problems, times
from hostpulse.clock import NS_PER_S
from storage import catalog, database, reading, servers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from collector_gateway.services import Services

NOT_LABELS = ("server_id", "metric", "from", "to", "step", "agg")
REQUIRED = NOT_LABELS[:4]
VALUE_MAX_CHARACTERS = 4096  # a path on Linux (PATH_MAX)
POINTS_AT_ONCE = 500  # written in one go, in 1 ms; longer answers are streamed
STREAMED_CHARACTERS = 16_384  # sent at a time, or the points written in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the query string asks for."""

    server_name: str
    metric_name: str  # as it was asked for: the unit goes with it
    metric: catalog.Metric
    start: datetime
    end: datetime
    step_s: int | None
    aggregate: reading.Aggregate
    labels: Mapping[str, str]


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_metrics(request: Request) -> Response:
        """Return the series of one metric of one server in [from, to)."""
        access.require_reader(request)
        question = parse(request.query_params.multi_items())
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            server_id = await servers.find_id(connection, question.server_name)
            if server_id is None:
                raise unknown_server(question.server_name)
            query = reading.Query(
                metric=question.metric,
                server_id=server_id,
                start=question.start,
                end=question.end,
                step_s=question.step_s,
                aggregate=question.aggregate,
                labels=question.labels,
            )
            try:
                now = datetime.fromtimestamp(services.clock.wall_ns() / NS_PER_S, UTC)
                answer = await reading.read(connection, query, now=now)
            except reading.TooManyPoints as error:
                fitting = error.fitting_step_s
                expected = f"at least {fitting}s" if fitting else "a shorter range, or a label"
                got = f"{query.step_s}s" if query.step_s else "none"
                raise problems.Problem(
                    HTTPStatus.BAD_REQUEST,
                    str(error),
                    errors=[problems.FieldError(field="step", expected=expected, got=got)],
                ) from error
            except reading.RawOnly as error:
                raise raw_only(error, query) from error
            except reading.InvalidLabel as error:
                raise problems.Problem(HTTPStatus.BAD_REQUEST, str(error)) from error
        return respond(question, answer)

    async def get_catalog(request: Request) -> Response:
        """Return the metrics that can be asked for, aliases among them."""
        access.require_reader(request)
        named = {**catalog.METRICS, **catalog.ALIASES}
        return JSONResponse(
            {
                "metrics": [
                    {
                        "metric": name,
                        "unit": metric.unit,
                        "labels": list(reading.filter_names(metric)),
                        "alias_of": metric.name if name in catalog.ALIASES else None,
                    }
                    for name, metric in named.items()
                ]
            }
        )

    routes.add_api_route("/api/v1/metrics", get_metrics, openapi_extra=documents.GET_METRICS)
    routes.add_api_route("/api/v1/metrics/catalog", get_catalog)
    return routes


def unknown_server(name: str) -> problems.Problem:
    """Make the problem of a server that nobody has heard of."""
    return problems.Problem(
        HTTPStatus.NOT_FOUND,
        "no server has this name",
        errors=[problems.wrong("server_id", expected="the name of a known server", got=name)],
    )


def raw_only(error: reading.RawOnly, query: reading.Query) -> problems.Problem:
    """Make the problem of a question that only raw samples could answer."""
    if query.step_s is None:  # then it is the age
        field, got = "from", times.format_time(query.start)
        expected = f"within the last {error.days:g} days, for {error.what}"
    else:
        field, got = "step", f"{query.step_s}s"
        expected = f"under 60s, within the last {error.days:g} days, for {error.what}"
    return problems.Problem(
        HTTPStatus.BAD_REQUEST,
        str(error),
        errors=[problems.FieldError(field=field, expected=expected, got=got)],
    )


def parse(items: list[tuple[str, str]]) -> Question:
    """Check a query string.

    Raises:
        Problem: 400, naming the parameter.
    """
    given: dict[str, str] = {}
    for name, value in items:
        if name in given:
            raise problems.wrong_query(name[:100], expected="given once", got=value)
        if len(value) > VALUE_MAX_CHARACTERS or "\0" in value:
            raise problems.wrong_query(
                name[:100], expected=f"at most {VALUE_MAX_CHARACTERS} characters, no NUL", got=value
            )
        given[name] = value
    for name in REQUIRED:
        if not given.get(name):
            raise problems.Problem(
                HTTPStatus.BAD_REQUEST,
                f"{name} is missing",
                errors=[problems.FieldError(field=name, expected="a value", got="nothing")],
            )
    metric = _metric(given["metric"])
    start, end = _time("from", given["from"]), _time("to", given["to"])
    if start >= end:
        expected = f"before to, {times.format_time(end)}"
        raise problems.wrong_query("from", expected=expected, got=given["from"])
    return Question(
        server_name=given["server_id"],
        metric_name=given["metric"],
        metric=metric,
        start=start,
        end=end,
        step_s=_step(given.get("step")),
        aggregate=_aggregate(given.get("agg")),
        labels=_labels(metric, given),
    )


def _metric(name: str) -> catalog.Metric:
    try:
        return catalog.find_metric(name)
    except catalog.UnknownMetric as error:
        hint = str(error).partition("; ")[2]
        expected = "a metric of /api/v1/metrics/catalog"
        problem = problems.wrong_query("metric", expected=expected, got=name)
        if hint:
            problem.detail += f"; {hint}"
        raise problem from error


def _time(name: str, text: str) -> datetime:
    # An offset's + that was not escaped has become a space on its way (application/x-www-form).
    moment = times.parse_time(text) or times.parse_time("+".join(text.rsplit(" ", 1)))
    if moment is None:
        raise problems.wrong_query(name, expected=times.TIME, got=text)
    return moment


def _step(text: str | None) -> int | None:
    if text is None:
        return None
    step_s = times.parse_step(text)
    if step_s is None:
        raise problems.wrong_query("step", expected=times.STEP, got=text)
    return step_s


def _aggregate(text: str | None) -> reading.Aggregate:
    if text is None:
        return reading.Aggregate.AVG
    if text not in set(reading.Aggregate):
        expected = f"one of {', '.join(reading.Aggregate)}"
        raise problems.wrong_query("agg", expected=expected, got=text)
    return reading.Aggregate(text)


def _labels(metric: catalog.Metric, given: Mapping[str, str]) -> dict[str, str]:
    """Return the label filters; a parameter that is none of them is a mistake."""
    labels = {name: value for name, value in given.items() if name not in NOT_LABELS}
    known = reading.filter_names(metric)
    for name in labels:
        if name not in known and metric.table is not catalog.CUSTOM:
            expected = f"one of {', '.join((*NOT_LABELS, *known))}"
            error = problems.FieldError(
                field=name[:100], expected=expected, got="an unknown parameter"
            )
            detail = f"{metric.name} has no label {problems.shown(name)}"
            raise problems.Problem(HTTPStatus.BAD_REQUEST, detail, errors=[error])
    return labels


def respond(question: Question, answer: reading.Answer) -> Response:
    """Answer at once what is short, and stream what is long."""
    if sum(len(series.points) for series in answer.series) <= POINTS_AT_ONCE:
        return Response(render(question, answer), media_type="application/json")
    return StreamingResponse(stream(question, answer), media_type="application/json")


async def stream(question: Question, answer: reading.Answer) -> AsyncGenerator[bytes]:
    """Write an answer piece by piece; between them others have their turn."""
    waiting: list[str] = []
    for piece in pieces(question, answer):
        waiting.append(piece)
        if sum(map(len, waiting)) >= STREAMED_CHARACTERS:
            yield "".join(waiting).encode()
            waiting.clear()
            await asyncio.sleep(0)
    yield "".join(waiting).encode()


def render(question: Question, answer: reading.Answer) -> bytes:
    """Write an answer."""
    return "".join(pieces(question, answer)).encode()


def pieces(question: Question, answer: reading.Answer) -> Iterator[str]:
    """Write an answer in pieces of at most POINTS_AT_ONCE points.

    The points are most of it, and are written here: a JSON encoder takes half as long again. Their
    values are finite, so Python writes them as JSON does.
    """
    head: dict[str, object] = {
        "server_id": question.server_name,
        "metric": question.metric_name,
        "unit": question.metric.unit,
        "tier": answer.tier,
        "step_s": answer.step_s,
    }
    if answer.approximate:
        head["approximate"] = True
    yield f'{json.dumps(head)[:-1]}, "series":['
    for number, series in enumerate(answer.series):
        yield f'{"," if number else ""}{{"labels":{json.dumps(series.labels)},"points":['
        for begin in range(0, len(series.points), POINTS_AT_ONCE):
            points = series.points[begin : begin + POINTS_AT_ONCE]
            text = ",".join(
                [f'["{moment.isoformat()[:-6]}Z",{value!r}]' for moment, value in points]
            )
            yield f",{text}" if begin else text
        yield "]}"
    yield "]}"
