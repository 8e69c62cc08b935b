"""Who goes too fast is answered 429, before anything is done for them."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from api import problems
from collector_gateway.limits import Limited

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from collector_gateway.limits import Limits

FREE_PATHS = frozenset({"/healthz", "/readyz"})  # a probe must not fail for others' haste


class LimitAddress:
    """ASGI middleware outside the door: counts the requests of an address."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] not in FREE_PATHS:
            try:
                self._limits.admit_request(address_of(scope))
            except Limited as error:
                return await problems.response(too_fast(error))(scope, receive, send)
        return await self._app(scope, receive, send)


class LimitKey:
    """ASGI middleware behind the door: counts the requests of a key."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        principal = scope.get("state", {}).get("principal")
        if principal is not None:
            try:
                self._limits.admit_request_of(principal.actor)
            except Limited as error:
                return await problems.response(too_fast(error))(scope, receive, send)
        return await self._app(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Return who is on the other side; a proxy on this machine may speak for another."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def too_fast(error: Limited) -> problems.Problem:
    """Make the problem of somebody who has to wait."""
    after_s = max(1, math.ceil(error.after_s or 1))
    return problems.Problem(
        HTTPStatus.TOO_MANY_REQUESTS, str(error), headers={"Retry-After": str(after_s)}
    )
