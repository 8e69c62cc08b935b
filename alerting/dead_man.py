"""The dead-man's switch: an outside address that hears every minute that all is well.

Whoever watches that address raises the alarm when it falls silent, which is the one alert that
hostpulse can't send itself. It is told only while the whole way is proven: samples are committed
(ingest), a cycle ran (evaluate), and nothing that is due has been waiting to be sent (notify).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from alerting import records
from alerting.notifiers import webhooks
from hostpulse import backoff, errors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from storage.database import Connection, Pool

PERIOD_S = 60.0
HEARD_S = 120.0
CYCLE_S = 90.0
WAITING_S = 600.0
ACQUIRE_MAX_S = 5.0

log = structlog.stdlib.get_logger(__name__)

_FACTS = """
    SELECT
      NOT EXISTS (SELECT FROM server WHERE watch_offline AND status <> 'stopped')
        OR EXISTS (SELECT FROM server WHERE last_seen > now() - make_interval(secs => $1))
        AS ingest,
      coalesce((SELECT (value ->> 'time')::timestamptz > now() - make_interval(secs => $2)
                FROM setting WHERE key = $4), false) AS evaluate,
      NOT EXISTS (SELECT FROM notification WHERE kind <> 'test'
                    AND (state = 'pending' AND created_at < now() - make_interval(secs => $3)
                      OR state = 'failed' AND finished_at > now() - make_interval(secs => $3)))
        AS notify
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Which parts of the way are proven."""

    ingest: bool
    evaluate: bool
    notify: bool

    @property
    def broken(self) -> tuple[str, ...]:
        """The parts that are not."""
        return tuple(name for name in ("ingest", "evaluate", "notify") if not getattr(self, name))


async def look(connection: Connection) -> Health:
    """See how the whole way is."""
    row = await connection.fetchrow(_FACTS, HEARD_S, CYCLE_S, WAITING_S, records.HEARTBEAT)
    assert row is not None  # noqa: S101 - one row by construction
    return Health(**dict(row))


async def post(url: str) -> None:
    """Say that all is well."""
    await webhooks.post("the heartbeat address", url, json={"status": "ok", "from": "hostpulse"})


class DeadMan:
    """Tells the address every minute while all is well.

    Args:
        pool: a connection of it is used for a moment.
        url: a secret, for whoever knows it can keep the alarm from being raised.
        stop: set once.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        url: str,
        stop: asyncio.Event,
        send: Callable[[str], Awaitable[None]] = post,
        pause: backoff.Pause = backoff.pause,
    ) -> None:
        self._pool = pool
        self._url = url
        self._stop = stop
        self._send = send
        self._pause = pause
        self._said: tuple[str, ...] = ()

    async def run(self) -> None:
        """Look and tell until stopped.

        Raises:
            PostgresError, OSError, TimeoutError: the database is away; call again later.
        """
        while not self._stop.is_set():
            await self.run_once()
            await self._pause(PERIOD_S, self._stop)

    async def run_once(self) -> Health:
        """Look once, and tell if all is well."""
        async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            health = await look(connection)
        if health.broken != self._said:
            log.warning("heartbeat_changed", broken=list(health.broken))
            self._said = health.broken
        if not health.broken:
            try:
                await self._send(self._url)
            except (errors.Retryable, errors.Permanent) as error:
                log.warning("heartbeat_not_taken", error=str(error))
        return health
