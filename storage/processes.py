"""The processes that use most: at a moment, or over a range."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import tiers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

TOP = 10
WITHIN = timedelta(minutes=5)  # the newest sample before a moment, but none older than that
MINUTE_RANGE_MAX = timedelta(days=2)

_AT = """
    SELECT p.time, p.pid, p.name, p.username, p.cmdline, p.cpu_percent, p.memory_rss_bytes,
           p.memory_percent
    FROM process p
    WHERE p.server_id = $1 AND p.{rank} <= $4 AND p.time = (
      SELECT newest.time FROM process newest
      WHERE newest.server_id = $1 AND newest.time <= $2 AND newest.time > $3
      ORDER BY newest.time DESC LIMIT 1)
    ORDER BY p.{rank}, p.pid
"""

# A name that was not among the top in a bucket used next to nothing there: what it used is spread
# over all buckets of the range.
_RANGE = """
    SELECT p.name, p.username,
           sum(p.cpu_percent::float8 * p.ticks_seen)
             / max(sum(p.ticks_seen)) OVER () AS cpu_percent,
           sum(p.memory_rss_bytes::float8 * p.ticks_seen) / sum(p.ticks_seen) AS memory_rss_bytes,
           sum(p.memory_percent::float8 * p.ticks_seen) / sum(p.ticks_seen) AS memory_percent
    FROM process{suffix} p
    WHERE p.server_id = $1 AND p.time >= $2 AND p.time < $3
    GROUP BY p.name, p.username
    ORDER BY {order} DESC NULLS LAST LIMIT $4
"""


class By(StrEnum):
    """What is counted."""

    CPU = "cpu"
    MEMORY = "memory"


RANKS = {By.CPU: "cpu_rank", By.MEMORY: "memory_rank"}
ORDERS = {By.CPU: "cpu_percent", By.MEMORY: "memory_rss_bytes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of one moment, or a name over a range (without pid and command line)."""

    name: str | None
    username: str | None
    cpu_percent: float | None  # of one core
    memory_rss_bytes: float | None
    memory_percent: float | None
    pid: int | None = None
    cmdline: str | None = None
    time: datetime | None = None


async def at(
    connection: Connection, server_id: int, *, moment: datetime, by: By
) -> Sequence[Process]:
    """Return the top of the newest sample at a moment, or up to 5 minutes before."""
    statement = _AT.format(rank=RANKS[by])
    rows = await connection.fetch(statement, server_id, moment, moment - WITHIN, TOP)
    return [Process(**dict(row)) for row in rows]


async def between(
    connection: Connection, server_id: int, *, start: datetime, end: datetime, by: By
) -> Sequence[Process]:
    """Return the names that used most in [start, end), from minutes or hours."""
    tier = tiers.MINUTE if end - start <= MINUTE_RANGE_MAX else tiers.HOUR
    statement = _RANGE.format(suffix=tier.suffix, order=ORDERS[by])
    rows = await connection.fetch(statement, server_id, tier.begin(start), end, TOP)
    return [Process(**dict(row)) for row in rows]
