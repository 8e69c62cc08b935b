"""/api/v1/rules: see alert rules, replace or remove one; the keys are those of rule files."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import asyncpg
from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import backtest, parsing, rule_changes, rule_files
from api import access, alerting_documents, bodies, problems, times
from hostpulse import errors
from storage import database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services

NO_RULE = "there is no rule of this name"
DAY_S = 86_400
TESTS_AT_ONCE = 1
TEST_MAX_S = 30.0
TEST_KEYS = ("since", "thresholds")
SINCE_DEFAULT = "7d"
EPISODES_MAX = 500


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    tests = asyncio.Semaphore(TESTS_AT_ONCE)

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
            raise problems.Problem(HTTPStatus.NOT_FOUND, NO_RULE)
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

    async def delete_rule(request: Request, name: str) -> Response:
        """Forget a rule that is disabled and has nothing open."""
        access.require_admin(request)
        who = access.principal(request).actor
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            try:
                removed = await rule_changes.remove(connection, name, by=who)
            except errors.ConfigError as error:
                raise problems.Problem(HTTPStatus.CONFLICT, str(error)[:500]) from error
        if not removed:
            raise problems.Problem(HTTPStatus.NOT_FOUND, NO_RULE)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def test_rule(request: Request, name: str) -> Response:
        """Say what a rule would have done with the stored samples."""
        access.require_reader(request)
        body = await bodies.read_json(request)
        try:
            back, thresholds = _read_test(body)
        except errors.ConfigError as error:
            raise refusal(error) from error
        if tests.locked():
            detail = "another rule is being tested: try again, or use `hostpulse rule test`"
            headers = {"Retry-After": f"{TEST_MAX_S:.0f}"}
            raise problems.Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers)
        try:
            async with (
                tests,
                asyncio.timeout(TEST_MAX_S),
                services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection,
            ):
                row = await connection.fetchrow("SELECT * FROM alert_rule WHERE name = $1", name)
                if row is None:
                    raise problems.Problem(HTTPStatus.NOT_FOUND, NO_RULE)
                end = datetime.now(UTC)
                report = await backtest.run(
                    connection,
                    parsing.parse(dict(row)),
                    start=end - back,
                    end=end,
                    thresholds=thresholds,
                )
        except errors.ConfigError as error:
            raise refusal(error) from error
        except (TimeoutError, asyncpg.QueryCanceledError) as error:
            detail = (
                f"this takes longer than {TEST_MAX_S:g} s: ask for less, or use"
                " `hostpulse rule test`, which has no limit"
            )
            raise problems.Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail) from error
        return JSONResponse(times.in_json(backtest.to_json(report, episodes_max=EPISODES_MAX)))

    routes.add_api_route("/api/v1/rules", get_rules)
    routes.add_api_route("/api/v1/rules/{name}", get_rule)
    routes.add_api_route(
        "/api/v1/rules/{name}", put_rule, methods=["PUT"], openapi_extra=alerting_documents.PUT_RULE
    )
    routes.add_api_route("/api/v1/rules/{name}", delete_rule, methods=["DELETE"])
    routes.add_api_route(
        "/api/v1/rules/{name}/test",
        test_rule,
        methods=["POST"],
        openapi_extra=alerting_documents.TEST_RULE,
    )
    return routes


def refusal(error: errors.ConfigError) -> problems.Problem:
    """Answer what was wrong with a body."""
    return problems.Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        str(error)[:500],
        errors=[problems.wrong(error.field, expected=error.expectation, got=error.value)],
    )


def _read_test(raw: object) -> tuple[timedelta, list[float] | None]:
    """Read `{"since": "7d", "thresholds": [80, 90]}`; both may be left out."""
    if not isinstance(raw, dict):
        raise errors.ConfigError("body", expectation="an object", value=raw)
    body = cast("Mapping[str, object]", raw)
    for key in body:
        if key not in TEST_KEYS:
            expectation = f"made of {', '.join(TEST_KEYS)}"
            raise errors.ConfigError("body", expectation=expectation, value=key)
    back_s = rule_files.duration_s("since", body.get("since", SINCE_DEFAULT))
    if not 0 < back_s <= backtest.SINCE_MAX_S:
        expectation = f"up to {backtest.SINCE_MAX_S / DAY_S:g}d"
        raise errors.ConfigError("since", expectation=expectation, value=body.get("since"))
    given = body.get("thresholds")
    return timedelta(seconds=back_s), None if given is None else backtest.read_thresholds(given)


def _show(row: Mapping[str, object]) -> dict[str, object]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
        if key != "id"
    }
