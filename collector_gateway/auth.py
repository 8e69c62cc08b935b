"""Who is calling: a key or a token becomes a principal, or the call is refused.

A good key is looked up again after one second, so a revocation takes effect within one. While the
database is away a key that was good in the last five minutes stays good: agents keep their streams,
and what they send waits for the database anyway. Held in memory are hashes, never keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from collector_gateway import tokens
from collector_gateway.principals import Principal, Unauthenticated
from hostpulse import errors
from storage import keys

if TYPE_CHECKING:
    from datetime import datetime

    from collector_gateway.logins import Logins
    from hostpulse.clock import Clock
    from storage.database import Pool

K = TypeVar("K")
V = TypeVar("V")

RECHECK_NS = 1_000_000_000
TRUSTED_WITHOUT_DATABASE_NS = 300 * 1_000_000_000
TOUCH_NS = 60 * 1_000_000_000  # how often the last use of a key is written down
LOOKUP_TIMEOUT_S = 2.0
REMEMBERED_MAX = 20_000  # good keys; the least recently used goes first
REFUSED_MAX = 10_000
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)  # OSError includes TimeoutError


@dataclass(slots=True)
class _Known:
    """A key that was good at `verified_ns`, and is taken as good until `recheck_ns`."""

    principal: Principal
    verified_ns: int
    recheck_ns: int


def wall_ns(moment: datetime | None) -> int | None:
    """Return a moment as the wall clock counts."""
    return None if moment is None else int(moment.timestamp() * 1e9)


def bearer(authorization: str | None) -> str | None:
    """Return the key of `Authorization: Bearer …` (RFC 6750); None if there is none."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() or None if scheme.lower() == "bearer" else None


class Authenticator:
    """Checks keys against the database, at most once a second each, and tokens without it.

    Args:
        pool: for queries; opened and closed by its owner.
        clock: the monotonic one ages the cache, the wall's ends expiring keys between two looks.
        tokens: of which JSON web tokens are taken; None: of none.
        logins: how often an address may fail; None: as often as it likes.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Clock,
        tokens: tokens.Tokens | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._logins = logins
        self._pool = pool
        self._clock = clock
        self._tokens = tokens
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._refused: OrderedDict[bytes, int] = OrderedDict()
        self._touched: OrderedDict[int, int] = OrderedDict()
        self._looking: dict[bytes, asyncio.Task[Principal]] = {}

    async def authenticate(self, key: str | None, *, address: str = "") -> Principal:
        """Return who bears this key.

        Args:
            key: a key or token.
            address: where the caller is, whose failures are counted.

        Raises:
            Unauthenticated: there is none, or it is unknown, revoked or expired.
            Limited: the address has failed too often, and the key is not known here.
            Retryable: the database can't be asked, and the key was not good lately.
        """
        if self._logins is None or (key is not None and keys.digest(key) in self._known):
            return await self._authenticate(key)
        async with self._logins.attempt(address) as attempt:
            try:
                return await self._authenticate(key)
            except Unauthenticated:
                attempt.fail()
                raise

    async def _authenticate(self, key: str | None) -> Principal:
        """Return who bears this key."""
        if not key:
            raise Unauthenticated("expected an API key, got none")
        if self._tokens is not None and tokens.looks_like_one(key):
            return self._tokens.verify(key)
        if keys.prefix_of(key) is None:
            raise Unauthenticated("expected an API key that begins with hp_, got something else")
        digest = keys.digest(key)
        now = self._clock.monotonic_ns()
        known = self._known.get(digest)
        if known and now < known.recheck_ns:
            self._known.move_to_end(digest)
            return self._unexpired(known)
        refused_ns = self._refused.get(digest)
        if refused_ns is not None and now < refused_ns + RECHECK_NS:
            raise Unauthenticated("the API key is unknown, revoked or expired")
        return await self._look_once(digest, key)

    def forget(self, key_ids: frozenset[int]) -> None:
        """Look these keys up again at their next use: something about them has changed."""
        for known in self._known.values():
            if known.principal.key_id in key_ids:
                known.recheck_ns = 0

    async def _look_once(self, digest: bytes, key: str) -> Principal:
        """Look a key up; those who ask for the same key meanwhile wait for the same answer."""
        looking = self._looking.get(digest)
        if looking is None:
            looking = asyncio.create_task(self._look(digest, key), name="authenticate")
            self._looking[digest] = looking
            looking.add_done_callback(lambda task: self._looked(digest, task))
        try:
            # One caller who goes away must not take the answer from the others.
            return await asyncio.shield(looking)
        finally:
            del looking  # an error that it holds has a traceback that would hold it

    def _looked(self, digest: bytes, task: asyncio.Task[Principal]) -> None:
        """Forget a finished look-up; its error belongs to the callers, if any are left."""
        del self._looking[digest]
        if not task.cancelled():
            task.exception()

    async def _look(self, digest: bytes, key: str) -> Principal:
        """Ask the database."""
        try:
            async with (
                asyncio.timeout(LOOKUP_TIMEOUT_S),
                self._pool.acquire(timeout=LOOKUP_TIMEOUT_S) as connection,
            ):
                found = await keys.verify(connection, key)
        except AWAY as error:
            return self._without_database(digest, error)
        now = self._clock.monotonic_ns()
        if found is None:
            self._known.pop(digest, None)
            _remember(self._refused, digest, now, REFUSED_MAX)
            raise Unauthenticated("the API key is unknown, revoked or expired")
        self._refused.pop(digest, None)
        known = _Known(
            principal=Principal(
                key_id=found.id,
                prefix=found.prefix,
                role=found.role,
                server_names=frozenset(found.server_names),
                expires_wall_ns=wall_ns(found.expires_at),
            ),
            verified_ns=now,
            recheck_ns=now + RECHECK_NS,
        )
        _remember(self._known, digest, known, REMEMBERED_MAX)
        await self._touch(found.id)
        return known.principal

    async def _touch(self, key_id: int) -> None:
        """Write down now and then that a key is in use; failing that, it is used all the same."""
        now = self._clock.monotonic_ns()
        touched_ns = self._touched.get(key_id)
        if touched_ns is not None and now < touched_ns + TOUCH_NS:
            return
        _remember(self._touched, key_id, now, REMEMBERED_MAX)
        with contextlib.suppress(*AWAY):
            async with (
                asyncio.timeout(LOOKUP_TIMEOUT_S),
                self._pool.acquire(timeout=LOOKUP_TIMEOUT_S) as connection,
            ):
                await keys.touch(connection, [key_id])

    def _without_database(self, digest: bytes, error: Exception) -> Principal:
        """Trust what was good lately, and leave the database alone for a moment."""
        now = self._clock.monotonic_ns()
        known = self._known.get(digest)
        if known and now < known.verified_ns + TRUSTED_WITHOUT_DATABASE_NS:
            known.recheck_ns = now + RECHECK_NS
            return self._unexpired(known)
        raise errors.Retryable("the API key can't be checked: the database is away") from error

    def _unexpired(self, known: _Known) -> Principal:
        """Return the principal of a key whose time has not run out since it was looked up."""
        expires_ns = known.principal.expires_wall_ns
        if expires_ns is not None and self._clock.wall_ns() >= expires_ns:
            raise Unauthenticated("the API key is unknown, revoked or expired")
        return known.principal


def _remember(cache: OrderedDict[K, V], key: K, value: V, maximum: int) -> None:
    """Put a value at the young end of a cache and drop the oldest beyond its maximum."""
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > maximum:
        cache.popitem(last=False)
