"""Streams that are open end when their key does.

It may be revoked, rotated away or expired; a token's signer may no longer be trusted.

    trigger ─ NOTIFY ─▶ listener ─▶ look those keys up ─▶ end their streams
                    every 2 s ─▶ look all keys up, one query ─┘   (should a NOTIFY get lost)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from collector_gateway.auth import AWAY, wall_ns
from hostpulse import backoff
from storage import database, keys

if TYPE_CHECKING:
    from collections.abc import Generator

    from collector_gateway.auth import Authenticator
    from collector_gateway.principals import Principal
    from collector_gateway.tokens import Tokens
    from hostpulse.clock import Clock
    from storage.database import Pool

NET_INTERVAL_S = 2.0
TOUCH_INTERVAL_S = 600.0  # how often the last use of keys with streams is written down
LOOKUP_TIMEOUT_S = 5.0
PING_INTERVAL_S = 10.0  # a listener's connection that died without a word is noticed by then
ENDED_MAX = 10_000  # keys that ended lately, for streams that are just opening
NS_PER_S = 1_000_000_000
LISTEN = backoff.BackoffPolicy(initial_s=0.2, maximum_s=10.0)
OVER = "the key was revoked or has expired"

End = Callable[[str], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A stream: on whom it rests, and how it is ended."""

    principal: Principal
    end: End


class Live:
    """Knows on which key each open stream rests.

    Args:
        dsn: for a connection of its own, which listens.
        pool: for queries.
        authenticator: is told which keys to look up again.
        tokens: says which signatures are still trusted.
        clock: the wall's ends what expires.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool: Pool,
        authenticator: Authenticator,
        tokens: Tokens | None,
        clock: Clock,
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self._authenticator = authenticator
        self._tokens = tokens
        self._clock = clock
        self._by_key: dict[int, set[_Held]] = {}
        self._expiry_ns: dict[int, int] = {}
        self._by_token: set[_Held] = set()
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._due: set[int] = set()
        self._all_due = False
        self._wake = asyncio.Event()

    @contextlib.contextmanager
    def hold(self, principal: Principal, end: End) -> Generator[None]:
        """Call `end` with a reason when what `principal` rests on ends, while the block runs."""
        held = _Held(principal, end)
        key_id = principal.key_id
        if key_id is None:
            self._by_token.add(held)
            self._wake.set()
        else:
            self._by_key.setdefault(key_id, set()).add(held)
            if principal.expires_wall_ns is not None:
                self._expiry_ns[key_id] = principal.expires_wall_ns
                self._wake.set()
            if key_id in self._ended:  # between the look at the key and now
                end(OVER)
        try:
            yield
        finally:
            self._by_token.discard(held)
            if key_id is not None and (others := self._by_key.get(key_id)):
                others.discard(held)
                if not others:
                    del self._by_key[key_id]
                    self._expiry_ns.pop(key_id, None)

    async def watch(self, stop: asyncio.Event) -> None:
        """End streams until stopped."""
        next_net_ns = next_touch_ns = self._clock.monotonic_ns()
        while not stop.is_set():
            now = self._clock.monotonic_ns()
            if now >= next_net_ns or self._all_due:
                self._all_due = False
                next_net_ns = now + round(NET_INTERVAL_S * NS_PER_S)
                self._due |= self._by_key.keys()
            await self._look()
            self._end_expired()
            if now >= next_touch_ns:
                next_touch_ns = now + round(TOUCH_INTERVAL_S * NS_PER_S)
                await self._touch()
            await backoff.until_any(self._pause_s(next_net_ns), self._wake, stop)
            self._wake.clear()

    async def listen(self, stop: asyncio.Event) -> None:
        """Hear of keys that change until stopped; connects again as often as it must."""
        delays = backoff.delays(LISTEN)
        while not stop.is_set():
            try:
                connection = await database.connect(self._dsn, "keys")
            except AWAY:
                await backoff.pause(next(delays), stop)
                continue
            delays = backoff.delays(LISTEN)
            try:
                await connection.add_listener(keys.CHANNEL, self._hear)
                self._all_due = True  # whatever was said while nobody listened
                self._wake.set()
                while not await backoff.pause(PING_INTERVAL_S, stop):
                    await connection.fetchval("SELECT 1", timeout=LOOKUP_TIMEOUT_S)
            except AWAY as error:
                log.warning("key_listener_lost", error=type(error).__name__)
            finally:
                with contextlib.suppress(*AWAY):
                    await connection.close(timeout=1.0)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """Note a key that changed."""
        text = str(payload)
        if text.isdecimal():
            self._due.add(int(text))
            self._wake.set()

    async def _look(self) -> None:
        """Look up the keys that are due, all in one query, and end what rests on an ended one."""
        due, self._due = self._due, set()
        if not due:
            return
        self._authenticator.forget(frozenset(due))
        try:
            async with (
                asyncio.timeout(LOOKUP_TIMEOUT_S),
                self._pool.acquire(timeout=LOOKUP_TIMEOUT_S) as connection,
            ):
                found = await keys.check_ids(connection, sorted(due))
        except AWAY:
            self._due |= due  # streams go on without the database, as new ones do
            return
        for key_id, (is_valid, expires_at) in found.items():
            if not is_valid:
                self._end_key(key_id)
                continue
            self._ended.pop(key_id, None)
            if key_id in self._by_key and (expires_ns := wall_ns(expires_at)) is not None:
                self._expiry_ns[key_id] = expires_ns

    def _end_key(self, key_id: int) -> None:
        """End all streams of a key, and those that are just opening."""
        self._ended[key_id] = None
        while len(self._ended) > ENDED_MAX:
            self._ended.popitem(last=False)
        for held in list(self._by_key.get(key_id, ())):
            log.info("stream_key_ended", actor=held.principal.actor)
            held.end(OVER)

    def _end_expired(self) -> None:
        """End what has run out by the clock, and tokens whose signer is gone."""
        now = self._clock.wall_ns()
        for key_id in [key_id for key_id, at in self._expiry_ns.items() if now >= at]:
            self._end_key(key_id)
            self._expiry_ns.pop(key_id, None)
        for held in list(self._by_token):
            who = held.principal
            if who.expires_wall_ns is not None and now >= who.expires_wall_ns:
                held.end("the token has expired")
            elif self._tokens and who.signed_by and not self._tokens.is_trusted(who.signed_by):
                held.end("the key that signed the token is no longer trusted")

    def _pause_s(self, next_net_ns: int) -> float:
        """Return the seconds until something is due."""
        net_s = (next_net_ns - self._clock.monotonic_ns()) / NS_PER_S
        soonest = min(
            (
                *self._expiry_ns.values(),
                *(h.principal.expires_wall_ns or 0 for h in self._by_token),
            ),
            default=None,
        )
        expiry_s = net_s if soonest is None else (soonest - self._clock.wall_ns()) / NS_PER_S
        return max(0.05, min(net_s, expiry_s))

    async def _touch(self) -> None:
        """Write down that keys with open streams are in use."""
        if not self._by_key:
            return
        with contextlib.suppress(*AWAY):
            async with (
                asyncio.timeout(LOOKUP_TIMEOUT_S),
                self._pool.acquire(timeout=LOOKUP_TIMEOUT_S) as connection,
            ):
                await keys.touch(connection, sorted(self._by_key))
