"""/api/v1/keys: see, make, rotate and revoke keys, and make enrolment tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import rule_files
from api import access, bodies, documents, problems
from api.rules import refusal
from hostpulse import clock, errors
from storage import database, enrollments, key_rotation, keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services

CREATE_FIELDS = ("role", "servers", "note", "expires_at", "uses")
ROTATE_FIELDS = ("grace",)
NO_STORE = {"Cache-Control": "no-store"}  # the answer holds a key


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    def now() -> datetime:
        return datetime.fromtimestamp(services.clock.wall_ns() / clock.NS_PER_S, UTC)

    async def get_keys(request: Request) -> Response:
        """Return all keys and enrolment tokens, without their secrets."""
        access.require_admin(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await keys.list_all(connection)
        return JSONResponse({"keys": [keys.describe(each) for each in found]})

    async def post_key(request: Request) -> Response:
        """Make a key, or with `uses` an enrolment token, and return it, this one time."""
        access.require_admin(request)
        body = _object(await bodies.read_json(request), CREATE_FIELDS)
        by = access.principal(request).actor
        try:
            role = _role(body.get("role"))
            names = _names(body.get("servers", []))
            note = None if body.get("note") is None else _text("note", body["note"])
            expires_at = _expiry(body.get("expires_at"), now())
            uses = _uses(body.get("uses"))
            async with services.query_pool.acquire(
                timeout=database.ACQUIRE_TIMEOUT_S
            ) as connection:
                if role is keys.Role.ENROLL:
                    if uses is None or expires_at is None or len(names) > 1:
                        expectation = "given with expires_at and at most one of servers"
                        raise errors.ConfigError("uses", expectation=expectation, value=uses)
                    plaintext = await enrollments.create_token(
                        connection,
                        uses=uses,
                        expires_at=expires_at,
                        server_name=names[0] if names else None,
                        note=note,
                        created_by=by,
                    )
                else:
                    if uses is not None:
                        raise errors.ConfigError(
                            "uses", expectation="absent but for role enroll", value=uses
                        )
                    plaintext = await keys.create(
                        connection,
                        role=role,
                        server_names=names,
                        note=note,
                        created_by=by,
                        expires_at=expires_at,
                    )
        except errors.ConfigError as error:
            raise refusal(error) from error
        except keys.InvalidKey as error:
            raise _unprocessable(error) from error
        return _made(plaintext, {"role": role})

    async def rotate_key(request: Request, prefix: str) -> Response:
        """Make a key that may do the same; the old one ends after a grace (default: at once)."""
        access.require_admin(request)
        body = _object(await bodies.read_json(request, empty={}), ROTATE_FIELDS)
        try:
            grace_s = rule_files.duration_s("grace", body.get("grace", "0s"))
            if not 0 <= grace_s <= key_rotation.GRACE_MAX.total_seconds():
                expectation = f"0s to {key_rotation.GRACE_MAX.days}d"
                raise errors.ConfigError("grace", expectation=expectation, value=grace_s)
            async with services.query_pool.acquire(
                timeout=database.ACQUIRE_TIMEOUT_S
            ) as connection:
                plaintext, old = await key_rotation.rotate(
                    connection,
                    prefix,
                    grace=timedelta(seconds=grace_s),
                    rotated_by=access.principal(request).actor,
                )
        except errors.ConfigError as error:
            raise refusal(error) from error
        except keys.InvalidKey as error:
            raise _unprocessable(error) from error
        except keys.UnknownKey as error:
            raise _unknown() from error
        return _made(plaintext, {"role": old.role, "replaces": keys.describe(old)})

    async def delete_key(request: Request, prefix: str) -> Response:
        """Make a key or token worthless, within a second, on open streams too."""
        access.require_admin(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            try:
                revoked = await keys.revoke(
                    connection, prefix, revoked_by=access.principal(request).actor
                )
            except keys.UnknownKey as error:
                raise _unknown() from error
        return JSONResponse(keys.describe(revoked))

    routes.add_api_route("/api/v1/keys", get_keys)
    routes.add_api_route(
        "/api/v1/keys", post_key, methods=["POST"], openapi_extra=documents.POST_KEY
    )
    routes.add_api_route(
        "/api/v1/keys/{prefix}/rotate",
        rotate_key,
        methods=["POST"],
        openapi_extra=documents.ROTATE_KEY,
    )
    routes.add_api_route("/api/v1/keys/{prefix}", delete_key, methods=["DELETE"])
    return routes


def _made(plaintext: str, more: Mapping[str, object]) -> Response:
    """Answer a new key."""
    content = {"key": plaintext, "prefix": plaintext.split("_")[1], **more}
    return JSONResponse(content, status_code=HTTPStatus.CREATED, headers=NO_STORE)


def _unknown() -> problems.Problem:
    return problems.Problem(HTTPStatus.NOT_FOUND, "there is no key of this prefix")


def _unprocessable(error: keys.InvalidKey) -> problems.Problem:
    return problems.Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)[:500])


def _object(raw: object, fields: tuple[str, ...]) -> Mapping[str, object]:
    """Read an object of known fields.

    Raises:
        Problem: it is none.
    """
    expected = f"an object of {', '.join(fields)}"
    if not isinstance(raw, dict):
        raise problems.wrong_query("body", expected=expected, got=raw)
    body = cast("Mapping[str, object]", raw)
    for name in body:
        if name not in fields:
            raise problems.wrong_query("body", expected=expected, got=name)
    return body


def _role(raw: object) -> keys.Role:
    """Read a role.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(raw, str) or raw not in set(keys.Role):
        expectation = f"one of {', '.join(keys.Role)}"
        raise errors.ConfigError("role", expectation=expectation, value=raw)
    return keys.Role(raw)


def _text(field: str, raw: object) -> str:
    if not isinstance(raw, str):
        raise errors.ConfigError(field, expectation="a text", value=raw)
    return raw


def _names(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list):
        raise errors.ConfigError("servers", expectation="a list of names", value=raw)
    return tuple(_text("servers", each) for each in cast("list[object]", raw))


def _uses(raw: object) -> int | None:
    if raw is not None and (isinstance(raw, bool) or not isinstance(raw, int)):
        expectation = f"1 to {keys.USES_MAX}"
        raise errors.ConfigError("uses", expectation=expectation, value=raw)
    return raw


def _expiry(raw: object, now: datetime) -> datetime | None:
    """Read when a key ends.

    Raises:
        ConfigError: it is no moment to come.
    """
    if raw is None:
        return None
    try:
        moment = datetime.fromisoformat(_text("expires_at", raw))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or moment <= now:
        expectation = "a moment to come with an offset (RFC 3339)"
        raise errors.ConfigError("expires_at", expectation=expectation, value=raw)
    return moment
