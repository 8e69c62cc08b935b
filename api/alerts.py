"""GET /api/v1/alerts, POST /api/v1/alerts/{id}/ack: what is wrong, and who took it on."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import acknowledging
from api import access, problems
from storage import database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services

STATES = ("firing", "no_data", "pending", "resolved", "ok")  # the most urgent first
LIMIT = 1000

_LIST = """
    SELECT a.id, r.name AS rule, r.metric, s.name AS server_id, a.labels, a.state, a.severity,
           a.value, a.cause, a.flapping, a.run_started_at, a.fired_at, a.resolved_at,
           a.acknowledged_at, a.acknowledged_by, a.changed_at
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN server s ON s.id = a.server_id
    WHERE a.state = ANY($1::text[])
    ORDER BY array_position($2::text[], a.state), a.changed_at DESC, a.id
    LIMIT $3
"""
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
        wanted = request.query_params.getlist("state") or list(STATES[:3])
        for name in request.query_params:
            if name != "state":
                raise problems.wrong_query(name[:100], expected="state", got=name)
        for state in wanted:
            if state not in STATES:
                expected = f"one of {', '.join(STATES)}"
                raise problems.wrong_query("state", expected=expected, got=state)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch(_LIST, wanted, list(STATES), LIMIT)
        return JSONResponse({"alerts": [_show(dict(row)) for row in rows]})

    async def acknowledge(request: Request, alert_id: int) -> Response:
        """Take an alert on: it is neither repeated nor escalated."""
        access.require_admin(request)
        who = access.principal(request).actor
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            answer = await acknowledging.acknowledge(connection, alert_id, who=who)
        if answer in _ANSWERS:
            raise problems.Problem(*_ANSWERS[answer])
        return JSONResponse({"id": alert_id, "acknowledged": str(answer)})

    routes.add_api_route("/api/v1/alerts", get_alerts)
    routes.add_api_route("/api/v1/alerts/{alert_id:int}/ack", acknowledge, methods=["POST"])
    return routes


def _show(row: Mapping[str, object]) -> dict[str, object]:
    """Return an alert as JSON; times as RFC 3339."""
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
    }
