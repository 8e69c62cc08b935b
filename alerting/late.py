"""Late samples: what would have fired, had they come in time. Nobody is paged for it.

The gateway notes what came late (`late_arrival`: server, from, to; a stretch for each clock hour).
A stretch that grows no more is looked at, with the samples around it, and a firing that nobody knew
of is kept in `late_firing` with the moment at which it was learned.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import asyncpg
import structlog

from alerting import backtest, records
from alerting.rules import OFFLINE_METRIC
from hostpulse import backoff

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from datetime import datetime

    from alerting.backtest import Episode
    from alerting.rules import Rule
    from storage.database import Connection, Pool

AT_ONCE = 20
SETTLED_S = 30.0  # for so long nothing of a stretch has come
PERIOD_S = 60.0
ACQUIRE_MAX_S = 5.0
AROUND = timedelta(minutes=10)

log = structlog.stdlib.get_logger(__name__)

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('hostpulse late arrivals'))"

# Rows are not locked while they are looked at: the gateway must never wait to note more.
_WAITING = """
    SELECT id, server_id, from_time, to_time, learned_at FROM late_arrival
    WHERE evaluated_at IS NULL AND learned_at < now() - make_interval(secs => $2)
    ORDER BY learned_at, id LIMIT $1
"""

# What has grown meanwhile is looked at again.
DONE = """
    UPDATE late_arrival a SET evaluated_at = now()
    FROM unnest($1::bigint[], $2::timestamptz[]) AS seen (id, learned_at)
    WHERE a.id = seen.id AND a.learned_at = seen.learned_at
"""

# Behind all others, so that it holds up none.
_LATER = """
    UPDATE late_arrival SET learned_at = clock_timestamp() WHERE id = $1 AND evaluated_at IS NULL
"""

# What was told in time, or is known already, is no news.
_KEEP = """
    INSERT INTO late_firing (learned_at, rule_name, server_id, labels, severity, fired_at,
                             ended_at, value)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8
    WHERE NOT EXISTS (
      SELECT FROM alert_history h
      WHERE h.rule_name = $2 AND h.server_id = $3 AND h.labels = $4 AND h.change = 'fired'
        AND h.time BETWEEN $6::timestamptz - interval '10 minutes'
                       AND coalesce($7, $6)::timestamptz + interval '1 minute')
    ON CONFLICT DO NOTHING
    RETURNING true
"""


async def run_once(connection: Connection) -> int:
    """Look at some of what came late, all in one transaction; return how many stretches.

    One worker at a time does: to the others there is nothing. A stretch that takes longer than the
    statement timeout is tried again after the others.
    """
    async with connection.transaction():
        if not await connection.fetchval(_LOCK):
            return 0
        waiting = await connection.fetch(_WAITING, AT_ONCE, SETTLED_S)
        if not waiting:
            return 0
        chosen, _ = await records.load_rules(connection)
        enabled = [rule for rule in chosen if rule.enabled]
        done = [row for row in waiting if await _learned(connection, enabled, dict(row))]
        await connection.execute(
            DONE, [row["id"] for row in done], [row["learned_at"] for row in done]
        )
    return len(waiting)


async def _learned(
    connection: Connection, chosen: list[Rule], arrival: Mapping[str, object]
) -> bool:
    """Evaluate a stretch, in a savepoint; False where it took too long."""
    try:
        async with connection.transaction():
            await _learn(connection, chosen, arrival)
    except asyncpg.QueryCanceledError as error:
        log.warning(
            "late_samples_put_off",
            server_id=arrival["server_id"],
            from_time=str(arrival["from_time"]),
            to_time=str(arrival["to_time"]),
            error=str(error),
        )
        await connection.execute(_LATER, arrival["id"])
        return False
    return True


async def _learn(connection: Connection, chosen: list[Rule], arrival: Mapping[str, object]) -> None:
    """Evaluate the rules on one server around a stretch of late samples."""
    server_id, learned_at = arrival["server_id"], arrival["learned_at"]
    start, end = arrival["from_time"], arrival["to_time"]
    assert isinstance(server_id, int)  # noqa: S101 - columns of these types
    for rule in chosen:
        if rule.metric == OFFLINE_METRIC:
            continue
        around = AROUND + timedelta(seconds=rule.for_max_s)
        episodes = await backtest.find(
            connection,
            rule,
            servers=[server_id],
            start=start - around,  # pyright: ignore[reportOperatorIssue] - a timestamptz
            end=end + around,  # pyright: ignore[reportOperatorIssue]
        )
        for episode in episodes:
            if _touches(episode, start, end):  # pyright: ignore[reportArgumentType]
                await _keep(connection, rule, episode, learned_at)


def _touches(episode: Episode, start: datetime, end: datetime) -> bool:
    """Whether a firing has to do with the stretch."""
    return episode.fired_at <= end + AROUND and (
        episode.ended_at is None or episode.ended_at >= start
    )


async def _keep(connection: Connection, rule: Rule, episode: Episode, learned_at: object) -> None:
    """Note a firing that nobody knew of."""
    is_news = await connection.fetchval(
        _KEEP,
        learned_at,
        rule.name,
        episode.server_id,
        dict(episode.labels),
        str(episode.severity),
        episode.fired_at,
        episode.ended_at,
        episode.value,
    )
    if is_news:
        log.info(
            "would_have_fired",
            rule=rule.name,
            server=episode.server,
            fired_at=episode.fired_at.isoformat(),
        )


class LateLooker:
    """Looks at what came late every minute, and goes on while there is more."""

    def __init__(
        self, pool: Pool, *, stop: asyncio.Event, pause: backoff.Pause = backoff.pause
    ) -> None:
        self._pool = pool
        self._stop = stop
        self._pause = pause

    async def run(self) -> None:
        """Look until stopped.

        Raises:
            PostgresError, OSError, TimeoutError: the database is away; call again later.
        """
        while not self._stop.is_set():
            async with self._pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
                looked = await run_once(connection)
            if looked < AT_ONCE:
                await self._pause(PERIOD_S, self._stop)
