"""/api/v1/rules: see alert rules, and replace one; the keys are those of rule files."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import rule_changes, rule_files
from api import access, bodies, problems
from hostpulse import errors
from storage import database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def get_rules(request: Request) -> Response:
        """Return all rules by name."""
        access.require_reader(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            rows = await connection.fetch("SELECT * FROM alert_rule ORDER BY name")
        return JSONResponse({"rules": [_show(dict(row)) for row in rows]})

    async def get_rule(request: Request, name: str) -> Response:
        """Return one rule."""
        access.require_reader(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow("SELECT * FROM alert_rule WHERE name = $1", name)
        if row is None:
            raise problems.Problem(HTTPStatus.NOT_FOUND, "there is no rule of this name")
        return JSONResponse(_show(dict(row)))

    async def put_rule(request: Request, name: str) -> Response:
        """Make or replace a rule; it takes effect at the next evaluation."""
        access.require_admin(request)
        body = await bodies.read_json(request)
        if not isinstance(body, dict):
            raise problems.wrong_query("body", expected="an object", got=body)
        try:
            given = {"name": name, **cast("dict[str, object]", body)}
            row = rule_files.row_of("body", given)
            wanted = rule_files.Wanted(rules={str(row["name"]): row}, inhibitions=None)
            if row["name"] != name:
                expectation = "the name in the path"
                raise errors.ConfigError("name", expectation=expectation, value=row["name"])
            async with services.query_pool.acquire(
                timeout=database.ACQUIRE_TIMEOUT_S
            ) as connection:
                plan = await rule_changes.apply(
                    connection, wanted, dry_run=False, by=access.principal(request).actor
                )
        except errors.ConfigError as error:
            raise refusal(error) from error
        (change,) = plan.rules
        return JSONResponse(
            {
                "name": name,
                "result": str(change.kind),
                "changes": [dataclasses.asdict(each) for each in change.fields],
            }
        )

    routes.add_api_route("/api/v1/rules", get_rules)
    routes.add_api_route("/api/v1/rules/{name}", get_rule)
    routes.add_api_route("/api/v1/rules/{name}", put_rule, methods=["PUT"])
    return routes


def refusal(error: errors.ConfigError) -> problems.Problem:
    """Answer what was wrong with a body."""
    return problems.Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        str(error)[:500],
        errors=[problems.wrong(error.field, expected=error.expectation, got=error.value)],
    )


def _show(row: Mapping[str, object]) -> dict[str, object]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
        if key != "id"
    }
