"""/api/v1/alerts: what is wrong and why, what was, and who took it on."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import acknowledging, alert_log, explanation
from api import access, alerting_documents, problems, times
from storage import database

if TYPE_CHECKING:
    from collections.abc import Collection

    from collector_gateway.services import Services

LIMIT_DEFAULT = 200
BIGINT_MAX = 2**63 - 1
LIST_KEYS = ("state", "server", "rule", "since", "limit")
HISTORY_KEYS = ("server", "rule", "alert", "since", "before", "limit")
_ANSWERS = {
    acknowledging.Answer.NOT_OPEN: (HTTPStatus.CONFLICT, "this alert is not firing"),
    acknowledging.Answer.UNKNOWN: (HTTPStatus.NOT_FOUND, "there is no alert of this number"),
}


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_alerts(request: Request) -> Response:
        """Return the alerts that are pending, firing or without data, or those in ?state=."""
        access.require_reader(request)
        wanted = _filter(request, LIST_KEYS)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await alert_log.find(connection, wanted)
        return JSONResponse({"alerts": times.in_json(found)})

    async def get_history(request: Request) -> Response:
        """Return what became of alerts, the newest first."""
        access.require_reader(request)
        wanted = _filter(request, HISTORY_KEYS)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await alert_log.changes(connection, wanted)
        return JSONResponse({"changes": times.in_json(found)})

    async def get_alert(request: Request, alert_id: int) -> Response:
        """Return one alert with the samples, the evidence and its history."""
        access.require_reader(request)
        _check_keys(request, ())
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await explanation.explain(connection, _number("alert_id", str(alert_id)))
        if found is None:
            raise problems.Problem(*_ANSWERS[acknowledging.Answer.UNKNOWN])
        return JSONResponse(times.in_json(found))

    async def acknowledge(request: Request, alert_id: int) -> Response:
        """Take an alert on: it is neither repeated nor escalated."""
        access.require_admin(request)
        number = _number("alert_id", str(alert_id))
        who = access.principal(request).actor
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            answer = await acknowledging.acknowledge(connection, number, who=who)
        if answer in _ANSWERS:
            raise problems.Problem(*_ANSWERS[answer])
        return JSONResponse({"id": alert_id, "acknowledged": str(answer)})

    routes.add_api_route("/api/v1/alerts", get_alerts, openapi_extra=alerting_documents.GET_ALERTS)
    routes.add_api_route(
        "/api/v1/alerts/history", get_history, openapi_extra=alerting_documents.GET_ALERT_HISTORY
    )
    routes.add_api_route("/api/v1/alerts/{alert_id:int}", get_alert)
    routes.add_api_route("/api/v1/alerts/{alert_id:int}/ack", acknowledge, methods=["POST"])
    return routes


def _filter(request: Request, keys: Collection[str]) -> alert_log.Filter:
    """Read which alerts are asked for."""
    _check_keys(request, keys)
    given = request.query_params
    states = given.getlist("state") or list(alert_log.LIVE)
    for state in states:
        if state not in alert_log.STATES:
            expected = f"one of {', '.join(alert_log.STATES)}"
            raise problems.wrong_query("state", expected=expected, got=state)
    since = None
    if "since" in given and (since := times.parse_time(given["since"])) is None:
        raise problems.wrong_query("since", expected=times.TIME, got=given["since"])
    return alert_log.Filter(
        states=states,
        server=given.get("server"),
        rule=given.get("rule"),
        alert_id=_number("alert", given["alert"]) if "alert" in given else None,
        since=since,
        before=_number("before", given["before"]) if "before" in given else None,
        limit=_number("limit", given.get("limit", str(LIMIT_DEFAULT)), most=alert_log.LIMIT_MAX),
    )


def _check_keys(request: Request, keys: Collection[str]) -> None:
    """Refuse parameters that nobody reads, or of which only one could be meant."""
    for name in request.query_params:
        if name not in keys:
            expected = f"one of {', '.join(keys)}" if keys else "absent"
            raise problems.wrong_query(name[:100], expected=expected, got=name)
        if name != "state" and len(values := request.query_params.getlist(name)) > 1:
            raise problems.wrong_query(name, expected="given once", got=", ".join(values))
        if "\0" in request.query_params[name]:
            raise problems.wrong_query(name, expected="without NUL", got="a NUL")


def _number(field: str, text: str, *, most: int = BIGINT_MAX) -> int:
    """Read a whole number."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and 1 <= int(text) <= most):
        bound = f"1 to {most}" if most < BIGINT_MAX else "a number of one"
        raise problems.wrong_query(field, expected=bound, got=text)
    return int(text)
