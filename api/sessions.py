"""Sessions of the web page: a cookie stands for a key.

The cookie is HttpOnly and SameSite=Strict, and Secure where the page came over HTTPS. A request
that changes something must come from this page: with the header `X-Hostpulse-Page`, which no other
site can add without being asked for it, and an `Origin` that is this host.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from api import problems
from collector_gateway.principals import Principal, Unauthenticated
from hostpulse import errors
from storage import web_sessions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from hostpulse.clock import Clock
    from storage.database import Pool

COOKIE = "hostpulse_session"
PAGE_HEADER = "x-hostpulse-page"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
RECHECK_NS = 1_000_000_000  # as for keys: a revocation takes effect within a second
REMEMBERED_MAX = 2_000
TIMEOUT_S = 2.0
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Sessions:
    """Tells whose session a request belongs to; asks the database at most once a second each."""

    def __init__(self, pool: Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[int, Principal]] = OrderedDict()

    async def authenticate(self, request: Request) -> Principal | None:
        """Return who is signed in; None where a request brings no session.

        Raises:
            Unauthenticated: the session has ended.
            Problem: the request does not come from this page.
            Retryable: the database can't be asked.
        """
        token = request.cookies.get(COOKIE)
        if not token:
            return None
        principal = await self._look(token)
        if request.method not in SAFE_METHODS:
            require_page(request)
        return principal

    async def begin(self, key_id: int, *, actor: str) -> str:
        """Begin a session of a key and return its token."""
        async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
            return await web_sessions.begin(connection, key_id, actor=actor)

    async def begin_by_link(self, link: str) -> str | None:
        """Use a link up and begin a session; None if the link is unknown, used or too old."""
        async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
            return await web_sessions.begin_by_link(connection, link)

    async def end(self, token: str) -> None:
        """Sign out."""
        self._known.pop(web_sessions.digest(token), None)
        async with self._pool.acquire(timeout=TIMEOUT_S) as connection:
            await web_sessions.end(connection, token)

    async def _look(self, token: str) -> Principal:
        digest = web_sessions.digest(token)
        now = self._clock.monotonic_ns()
        known = self._known.get(digest)
        if known and now < known[0]:
            return known[1]
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._pool.acquire(timeout=TIMEOUT_S) as connection,
            ):
                found = await web_sessions.find(connection, token)
        except AWAY as error:
            raise errors.Retryable("the database can't be asked just now") from error
        if found is None:
            self._known.pop(digest, None)
            raise Unauthenticated("this session has ended: sign in again")
        principal = Principal(
            key_id=found.key_id, prefix=found.prefix, role=found.role, server_names=frozenset()
        )
        self._known[digest] = (now + RECHECK_NS, principal)
        self._known.move_to_end(digest)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return principal


def require_page(request: Request) -> None:
    """Refuse what another site made a browser send.

    Raises:
        Problem: 403.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    if PAGE_HEADER not in request.headers or origin.netloc != request.headers.get("host"):
        raise problems.Problem(
            HTTPStatus.FORBIDDEN,
            f"with a cookie, a change needs the header {PAGE_HEADER} and an Origin of this host",
        )


def set_cookie(response: Response, request: Request, token: str) -> None:
    """Give the browser its session."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(web_sessions.LIFETIME.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def delete_cookie(response: Response) -> None:
    """Take the session away from the browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
