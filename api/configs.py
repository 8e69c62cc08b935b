"""/api/v1/config: what agents are to run, who runs it, and changing it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from api import access, answers, bodies, documents, problems, rules
from hostpulse import errors
from storage import config_fields, config_scopes, configs, database, server_configs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from collector_gateway.services import Services
    from storage.database import Connection

SET_KEYS = ("fields", "comment", "priority", "expected_revision")
ROLLBACK_KEYS = ("revision", "comment")
HISTORY_LIMIT = 100


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    pool = services.query_pool

    async def get_config(request: Request) -> Response:
        """Return what is set for each scope, how many servers follow, and what can be set."""
        access.require_reader(request)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            current = await server_configs.current(connection)
            counts = await server_configs.count(connection)
        return JSONResponse(
            {
                "scopes": [configs.shown(each) for each in _ordered(current)],
                "servers": counts,
                "fields": [_field(each) for each in config_fields.FIELDS.values()],
            }
        )

    async def get_servers(request: Request) -> Response:
        """Return what each server is to run and what it answered, by name."""
        access.require_reader(request)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await server_configs.states(connection)
        shown = [server_configs.shown(each) for each in found]
        return answers.respond(request, {"servers": shown})

    async def get_server_config(request: Request, name: str) -> Response:
        """Return what a server is to run, where each field comes from, and what it answered."""
        access.require_reader(request)
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            state = await server_configs.state(connection, name)
        if state is None:
            raise problems.Problem(HTTPStatus.NOT_FOUND, "there is no server of this name")
        return JSONResponse(server_configs.shown(state))

    async def put_config(request: Request, scope: str) -> Response:
        """Set the fields of a scope as a whole; agents that are connected follow at once."""
        access.require_admin(request)
        body = await _body(request, SET_KEYS)
        fields = _fields(body)

        async def change(connection: Connection) -> configs.Revision:
            return await configs.change(
                connection,
                _scope(scope),
                lambda _: fields,
                author=_author(request),
                comment=_text(body, "comment"),
                priority=_whole(body, "priority"),
                expected_revision=_whole(body, "expected_revision"),
            )

        return await _changed(change)

    async def get_history(request: Request, scope: str) -> Response:
        """Return the revisions of a scope, the newest first."""
        access.require_reader(request)
        try:
            wanted = _scope(scope)
        except errors.ConfigError as error:
            raise rules.refusal(error) from error
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await configs.history(connection, wanted, limit=HISTORY_LIMIT)
        return JSONResponse({"revisions": [configs.shown(each) for each in found]})

    async def rollback(request: Request, scope: str) -> Response:
        """Set a scope to what one of its revisions said, as a new revision."""
        access.require_admin(request)
        body = await _body(request, ROLLBACK_KEYS)

        async def change(connection: Connection) -> configs.Revision:
            return await configs.rollback(
                connection,
                _scope(scope),
                author=_author(request),
                to=_whole(body, "revision"),
                comment=_text(body, "comment"),
            )

        return await _changed(change)

    async def _changed(change: Callable[[Connection], Awaitable[configs.Revision]]) -> Response:
        try:
            async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
                made = await change(connection)
        except configs.Conflict as error:
            refusal = rules.refusal(error)
            refusal.status = HTTPStatus.CONFLICT
            raise refusal from error
        except errors.ConfigError as error:
            raise rules.refusal(error) from error
        return JSONResponse(configs.shown(made))

    routes.add_api_route("/api/v1/config", get_config)
    routes.add_api_route("/api/v1/config/servers", get_servers)
    routes.add_api_route("/api/v1/servers/{name:path}/config", get_server_config)
    routes.add_api_route("/api/v1/config/{scope:path}/history", get_history)
    routes.add_api_route(
        "/api/v1/config/{scope:path}/rollback",
        rollback,
        methods=["POST"],
        openapi_extra=documents.ROLLBACK_CONFIG,
    )
    routes.add_api_route(
        "/api/v1/config/{scope:path}",
        put_config,
        methods=["PUT"],
        openapi_extra=documents.PUT_CONFIG,
    )
    return routes


def _ordered(revisions: list[configs.Revision]) -> list[configs.Revision]:
    """Put them in the order in which the later ones win."""
    return sorted(revisions, key=lambda r: (r.scope.nearness, r.priority, str(r.scope)))


def _field(field: config_fields.Field) -> dict[str, object]:
    return {
        "name": field.name,
        "kind": field.kind,
        "expected": field.expectation,
        "help": field.help,
        "low": field.low,
        "high": field.high,
        "choices": list(field.choices) or None,
    }


def _scope(text: str) -> configs.Scope:
    return config_scopes.parse(text)


def _author(request: Request) -> str:
    return access.principal(request).actor


async def _body(request: Request, keys: tuple[str, ...]) -> dict[str, object]:
    body = await bodies.read_json(request)
    if not isinstance(body, dict):
        raise problems.wrong_query("body", expected="an object", got=body)
    given = cast("dict[str, object]", body)
    for key in given:
        if key not in keys:
            error = errors.ConfigError("body", expectation=f"made of {', '.join(keys)}", value=key)
            raise rules.refusal(error)
    return given


def _fields(body: dict[str, object]) -> dict[str, object]:
    fields = body.get("fields")
    if not isinstance(fields, dict):
        error = errors.ConfigError("fields", expectation="an object", value=fields)
        raise rules.refusal(error)
    return cast("dict[str, object]", fields)


def _text(body: dict[str, object], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise errors.ConfigError(key, expectation="a text", value=value)
    return value


def _whole(body: dict[str, object], key: str) -> int | None:
    value = body.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise errors.ConfigError(key, expectation="a whole number", value=value)
    return value
