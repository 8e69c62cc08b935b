"""Who goes too fast is answered 429, before anything is done for them."""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from api import problems
from collector_gateway.buckets import Limited

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from collector_gateway.limits import Limits

AT_ONCE = 4  # requests of a key that are worked on; the others wait for their turn
LASTING_PATHS = frozenset({"/api/v1/events"})  # answers that go on for as long as they are read
FREE_PATHS = frozenset({"/healthz", "/readyz"})  # a probe must not fail for others' haste


class LimitAddress:
    """ASGI middleware outside the door: counts the requests of an address.

    Whoever is refused, here or behind, is told so a second later.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_late(message: Message) -> None:
            if message.get("status") == HTTPStatus.TOO_MANY_REQUESTS:
                await self._limits.holding.hold()
            await send(message)

        if scope["type"] == "http" and scope["path"] not in FREE_PATHS:
            try:
                self._limits.admit_request(address_of(scope))
            except Limited as error:
                return await problems.response(too_fast(error))(scope, receive, send_late)
        return await self._app(scope, receive, send_late)


class LimitKey:
    """ASGI middleware behind the door: counts the requests of a key, and takes a few at a time.

    Half of the connections to the database are left for everybody else, whatever one key asks for.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        principal = scope.get("state", {}).get("principal")
        if principal is not None:
            try:
                self._limits.admit_request_of(principal.actor)
            except Limited as error:
                return await problems.response(too_fast(error))(scope, receive, send)
            if scope["path"] not in LASTING_PATHS:
                turn = self._turns.get(principal.actor) or asyncio.Semaphore(AT_ONCE)
                self._turns[principal.actor] = turn
                async with turn:
                    return await self._app(scope, receive, send)
        return await self._app(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Return who is on the other side; a proxy that is trusted has said it of another."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def too_fast(error: Limited) -> problems.Problem:
    """Make the problem of somebody who has to wait."""
    after_s = max(1, math.ceil(error.after_s or 1))
    return problems.Problem(
        HTTPStatus.TOO_MANY_REQUESTS, str(error), headers={"Retry-After": str(after_s)}
    )
