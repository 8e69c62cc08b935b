"""/api/v1/channels: where notifications go. Secrets come in and never go out."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import channel_forms, channel_tests, channels
from api import access, alerting_documents, bodies, problems, secret_keys
from api.rules import refusal
from hostpulse import errors
from storage import audit, database

if TYPE_CHECKING:
    from collector_gateway.services import Services
    from storage.database import Connection

KEYS = {"name", "kind", "config", "secret", "enabled"}
TESTS_AT_ONCE = 4


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()
    testing: set[str] = set()

    async def get_channels(request: Request) -> Response:
        """Return all channels by name; of a secret only where it is."""
        access.require_reader(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await channels.list_all(connection)
        return JSONResponse({"channels": [show(each) for each in found]})

    async def post_channel(request: Request) -> Response:
        """Add a channel."""
        access.require_admin(request)
        body = _body(await bodies.read_json(request))
        channel = _read(body, name=body.get("name"), present=None)
        async with (
            services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection,
            connection.transaction(),
        ):
            added = await channels.add(connection, channel)
            if added:
                await _note(connection, request, "channel.add", channel)
        if not added:
            detail = "there is a channel of this name"
            wrong = problems.wrong("name", expected="a new name", got=channel.name)
            raise problems.Problem(HTTPStatus.CONFLICT, detail, errors=[wrong])
        return JSONResponse(show(channel), status_code=HTTPStatus.CREATED)

    async def put_channel(request: Request, name: str) -> Response:
        """Change a channel; what is not given stays as it is, its secret too."""
        access.require_admin(request)
        body = _body(await bodies.read_json(request))
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            present = await channels.find(connection, name)
            if present is None:
                raise _unknown()
            if body.get("name", name) != name:
                expected = "the name in the path"
                wrong = errors.ConfigError("name", expectation=expected, value=body["name"])
                raise refusal(wrong)
            kept = {"kind": present.kind, "config": present.config, "enabled": present.enabled}
            channel = _read({**kept, **body}, name=name, present=present)
            async with connection.transaction():
                if not await channels.replace(connection, channel):
                    raise _unknown()
                await _note(connection, request, "channel.change", channel)
        return JSONResponse(show(channel))

    async def delete_channel(request: Request, name: str) -> Response:
        """Forget a channel, unless rules name it."""
        access.require_admin(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            present = await channels.find(connection, name)
            try:
                async with connection.transaction():
                    if present is None or not await channels.remove(connection, name):
                        raise _unknown()
                    await _note(connection, request, "channel.remove", present)
            except errors.ConfigError as error:
                raise problems.Problem(HTTPStatus.CONFLICT, str(error)[:500]) from error
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def test_channel(request: Request, name: str) -> Response:
        """Have the alert worker send a test message, and say what came of it."""
        access.require_admin(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            present = await channels.find(connection, name)
            if present is None:
                raise _unknown()
            await _note(connection, request, "channel.test", present)
        if name in testing or len(testing) >= TESTS_AT_ONCE:
            detail = f"this channel, or {TESTS_AT_ONCE} others, are being tested"
            raise problems.Problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
        testing.add(name)
        try:
            result = await channel_tests.run(services.query_pool, name)
        finally:
            testing.discard(name)
        return JSONResponse({"outcome": str(result.outcome), "error": result.error})

    routes.add_api_route("/api/v1/channels", get_channels)
    routes.add_api_route(
        "/api/v1/channels",
        post_channel,
        methods=["POST"],
        openapi_extra=alerting_documents.POST_CHANNEL,
    )
    routes.add_api_route(
        "/api/v1/channels/{name}",
        put_channel,
        methods=["PUT"],
        openapi_extra=alerting_documents.PUT_CHANNEL,
    )
    routes.add_api_route("/api/v1/channels/{name}", delete_channel, methods=["DELETE"])
    routes.add_api_route("/api/v1/channels/{name}/test", test_channel, methods=["POST"])
    return routes


def show(channel: channels.StoredChannel) -> dict[str, object]:
    """Return a channel as JSON."""
    return {
        "name": channel.name,
        "kind": channel.kind,
        "config": dict(channel.config),
        "secret": channel_forms.where_secret_is(channel),
        "enabled": channel.enabled,
    }


def _body(raw: object) -> Mapping[str, object]:
    """Read an object of known keys."""
    if not isinstance(raw, dict):
        raise refusal(errors.ConfigError("body", expectation="an object", value=raw))
    body = cast("Mapping[str, object]", raw)
    for key in body:
        if key not in KEYS:
            expectation = f"made of {', '.join(sorted(KEYS))}"
            raise refusal(errors.ConfigError("body", expectation=expectation, value=key))
    return body


def _read(
    body: Mapping[str, object], *, name: object, present: channels.StoredChannel | None
) -> channels.StoredChannel:
    """Check a body; whatever is wrong with a secret, it is not repeated."""
    config, secret = body.get("config", {}), body.get("secret")
    enabled = body.get("enabled", True)
    kind = body.get("kind")
    try:
        for field, value in (("name", name), ("kind", kind)):
            if not isinstance(value, str):
                raise errors.ConfigError(field, expectation="a text", value=value)
        if not isinstance(config, Mapping):
            raise errors.ConfigError("config", expectation="an object", value=config)
        if secret is not None and not isinstance(secret, str):
            raise errors.ConfigError("secret", expectation="a text", value="***")
        if not isinstance(enabled, bool):
            raise errors.ConfigError("enabled", expectation="true or false", value=enabled)
        return channel_forms.read(
            name=cast("str", name),
            kind=cast("str", kind),
            config=cast("Mapping[str, object]", config),
            secret=secret,
            enabled=enabled,
            box=secret_keys.find,
            present=present,
        )
    except errors.ConfigError as error:
        raise refusal(error) from error


async def _note(
    connection: Connection, request: Request, action: str, channel: channels.StoredChannel
) -> None:
    """Write down who changed where notifications go."""
    await audit.record(
        connection,
        actor=access.principal(request).actor,
        action=action,
        subject=channel.name,
        allowed=True,
        detail={"kind": channel.kind, "enabled": channel.enabled},
    )


def _unknown() -> problems.Problem:
    return problems.Problem(HTTPStatus.NOT_FOUND, "there is no channel of this name")
