"""/ack/{token}: the page behind the link of a message.

Opening it changes nothing: mail scanners follow links. Its button posts, and that acknowledges. The
page needs no key, for the token is one; it loads nothing and may not be framed.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it
from starlette.responses import HTMLResponse, Response

from alerting import acknowledging, links, notifications
from alerting.notifiers import rendering
from api import secret_keys
from hostpulse import clock, errors
from storage import database

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alerting.notifications import Notification
    from collector_gateway.services import Services
    from storage import secrets

BODY_MAX_BYTES = 4096
NAMED_MAX = 30
WHO_DEFAULT = "link"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_WORDS = {
    acknowledging.Answer.DONE: "acknowledged",
    acknowledging.Answer.ALREADY: "was acknowledged before",
    acknowledging.Answer.NOT_OPEN: "is over already",
    acknowledging.Answer.UNKNOWN: "is no longer known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A message that went out at a moment, and the alerts that it speaks of."""

    message: Notification
    alert_ids: Sequence[int]
    at: datetime


def router(services: Services) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def find(token: str) -> _Told:
        """Return the message that a token came with, and of which alerts it speaks."""
        now = datetime.fromtimestamp(services.clock.wall_ns() / clock.NS_PER_S, UTC)
        key = links.read(_box(), token, now)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(
                "SELECT payload, alert_id, alert_ids, created_at FROM notification"
                " WHERE dedup_key = $1 ORDER BY id LIMIT 1",
                key,
            )
        if row is None:
            raise links.UnusableLink
        return _Told(
            message=notifications.from_json(row["payload"]),
            alert_ids=row["alert_ids"] or [row["alert_id"]],
            at=row["created_at"],
        )

    async def get_page(request: Request) -> Response:
        """Show what would be acknowledged."""
        try:
            told = await find(request.path_params["token"])
        except links.UnusableLink as error:
            return _page("Not valid", [str(error)], status=HTTPStatus.GONE)
        form = (
            '<form method="post"><label>Your name <input name="who" maxlength="60"></label> '
            "<button>Acknowledge</button></form>"
        )
        message = told.message
        return _page(rendering.title(message), [rendering.sentence(message)], form=form)

    async def post_page(request: Request) -> Response:
        """Acknowledge every alert of the message that is still firing as it was then."""
        try:
            told = await find(request.path_params["token"])
        except links.UnusableLink as error:
            return _page("Not valid", [str(error)], status=HTTPStatus.GONE)
        who = await _who(request)
        async with services.query_pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            answers = await acknowledging.acknowledge_all(
                connection, _firings(told), who=who, begun_by=told.at
            )
        return _page(rendering.title(told.message), _outcome(answers))

    path = f"{links.PATH}{{token}}"
    routes.add_api_route(path, get_page, include_in_schema=False)
    routes.add_api_route(path, post_page, methods=["POST"], include_in_schema=False)
    return routes


def _box() -> secrets.SecretBox:
    """Return the keys of this installation.

    Raises:
        UnusableLink: there are none.
    """
    try:
        return secret_keys.find()
    except errors.ConfigError as error:
        raise links.UnusableLink("This gateway has no keys to check links with.") from error


def _firings(told: _Told) -> dict[int, int | None]:
    """Return the firings that a message spoke of; it names only the first of many by number."""
    numbers = {each.alert_id: each.firing_number for each in told.message.members}
    if told.message.alert_id is not None:
        numbers[told.message.alert_id] = told.message.firing_number
    return {each: numbers.get(each) for each in told.alert_ids}


def _outcome(answers: Mapping[int, acknowledging.Answer]) -> list[str]:
    """Say what became of each alert, or of how many."""
    if len(answers) <= NAMED_MAX:
        return [f"Alert {number} {_WORDS[answer]}." for number, answer in answers.items()]
    counts = Counter(answers.values())
    return [f"Of {len(answers)} alerts:"] + [
        f"{count} {_WORDS[answer]}." for answer, count in counts.most_common()
    ]


async def _who(request: Request) -> str:
    """Read the name that was given, if any."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            return WHO_DEFAULT
    name = parse_qs(body.decode("utf-8", "replace")).get("who", [""])[0].strip()
    printable = "".join(each for each in name if each.isprintable())[:60]
    return f"{WHO_DEFAULT}: {printable}" if printable else WHO_DEFAULT


def _page(
    title: str, lines: Sequence[str], *, form: str = "", status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """Write a page."""
    text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hostpulse</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:16px sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;"
        "color:#263238}button,input{font:inherit;padding:.5rem 1rem}</style></head><body>"
        f"<h1>{html.escape(title)}</h1>{text}{form}</body></html>",
        status_code=status,
        headers=HEADERS,
    )
