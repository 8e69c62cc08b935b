"""/api/v1/silences: see, add and end silences."""

from __future__ import annotations

from datetime import UTC, datetime, time
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import JSONResponse, Response

from alerting import rule_files, silences
from alerting.rules import Selector
from api import access, alerting_documents, bodies, problems
from api.rules import refusal
from hostpulse import clock, errors, texts
from storage import database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services

KEYS = {
    *("rules", "servers", "server_labels", "labels", "starts_at", "ends_at", "recurrence"),
    *("reason", "author"),
}
RECURRENCE_KEYS = {"zone", "on", "at", "lasts"}
NUMBER_MAX = 2**31 - 1  # of a silence: what the column can hold


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    def now() -> datetime:
        return datetime.fromtimestamp(services.clock.wall_ns() / clock.NS_PER_S, UTC)

    async def get_silences(request: Request) -> Response:
        """Return the silences that are going on or to come; with ?all=true those that are over."""
        access.require_reader(request)
        everything = request.query_params.get("all") == "true"
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await silences.list_all(connection, everything=everything)
        return JSONResponse({"silences": [silences.to_json(each, now()) for each in found]})

    async def post_silence(request: Request) -> Response:
        """Add a silence; an end that is not given is only for a recurring one."""
        access.require_admin(request)
        body = await bodies.read_json(request)
        try:
            author = access.principal(request).actor
            silence = _read(body, author=author, now=now())
            silences.check(silence)
        except errors.ConfigError as error:
            raise refusal(error) from error
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            number = await silences.add(connection, silence, by=access.principal(request).actor)
        return JSONResponse({"id": number}, status_code=HTTPStatus.CREATED)

    async def delete_silence(request: Request, silence_id: int) -> Response:
        """End a silence now."""
        access.require_admin(request)
        who = access.principal(request).actor
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            known = 0 < silence_id <= NUMBER_MAX
            if not (known and await silences.end(connection, silence_id, who=who)):
                detail = "no silence of this number is going on or to come"
                raise problems.Problem(HTTPStatus.NOT_FOUND, detail)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    routes.add_api_route("/api/v1/silences", get_silences)
    routes.add_api_route(
        "/api/v1/silences",
        post_silence,
        methods=["POST"],
        openapi_extra=alerting_documents.POST_SILENCE,
    )
    routes.add_api_route("/api/v1/silences/{silence_id:int}", delete_silence, methods=["DELETE"])
    return routes


def _read(raw: object, *, author: str, now: datetime) -> silences.Silence:
    """Read a silence from a body.

    Raises:
        ConfigError: a field is wrong.
    """
    body = _object("body", raw, KEYS)
    recurrence = _recurrence(body.get("recurrence"))
    begins = _moment("starts_at", body.get("starts_at")) or now
    ends = _moment("ends_at", body.get("ends_at"))
    if ends is None:
        if recurrence is None:
            raise errors.ConfigError("ends_at", expectation="a moment", value=None)
        ends = silences.end_of(begins)
    labels = _object("labels", body.get("labels", {}), None)
    return silences.Silence(
        starts_at=begins,
        ends_at=ends,
        author=_text("author", body.get("author", author)),
        reason=_text("reason", body.get("reason", "")),
        rule_names=_texts("rules", body.get("rules", [])),
        selector=Selector(
            names=_texts("servers", body.get("servers", [])),
            labels={
                _text("server_labels", key): _text(f"server_labels.{key}", value)
                for key, value in _object(
                    "server_labels", body.get("server_labels", {}), None
                ).items()
            },
        ),
        label_filter={
            _text("labels", key): _texts(f"labels.{key}", value) for key, value in labels.items()
        },
        recurrence=recurrence,
    )


def _recurrence(raw: object) -> silences.Recurrence | None:
    """Read `{"zone", "on", "at", "lasts"}`."""
    if raw is None:
        return None
    entry = _object("recurrence", raw, RECURRENCE_KEYS)
    at = _text("recurrence.at", entry.get("at"))
    try:
        from_local = time.fromisoformat(at)
    except ValueError:
        expectation = "a time like 22:00"
        raise errors.ConfigError("recurrence.at", expectation=expectation, value=at) from None
    return silences.Recurrence(
        zone=_text("recurrence.zone", entry.get("zone", "UTC")),
        weekdays=silences.weekdays(_text("recurrence.on", entry.get("on"))),
        from_local=from_local,
        lasts_s=round(rule_files.duration_s("recurrence.lasts", entry.get("lasts"))),
    )


def _object(where: str, raw: object, keys: set[str] | None) -> Mapping[str, object]:
    if not isinstance(raw, dict):
        raise errors.ConfigError(where, expectation="an object", value=raw)
    entry = cast("Mapping[str, object]", raw)
    for key in entry:
        if keys is not None and key not in keys:
            expectation = f"made of {', '.join(sorted(keys))}"
            raise errors.ConfigError(where, expectation=expectation, value=key)
    return entry


def _text(where: str, raw: object) -> str:
    if not isinstance(raw, str) or not texts.is_storable(raw):
        expectation = "a text without NUL and halves of characters"
        raise errors.ConfigError(where, expectation=expectation, value=raw)
    return raw


def _texts(where: str, raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list):
        raise errors.ConfigError(where, expectation="a list of texts", value=raw)
    return tuple(_text(where, each) for each in cast("list[object]", raw))


def _moment(where: str, raw: object) -> datetime | None:
    if raw is None:
        return None
    text = _text(where, raw)
    try:
        moment = datetime.fromisoformat(text)
        aware = moment.tzinfo and moment.astimezone(UTC)  # the year 1 may be before that in UTC
    except (ValueError, OverflowError):
        aware = None
    if not aware:
        expectation = "a moment with an offset (RFC 3339)"
        raise errors.ConfigError(where, expectation=expectation, value=text)
    return aware
