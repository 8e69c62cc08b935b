"""How much of each server is used for long, and when it meets a limit if it goes on like this.

From the hours of the last 30 days: the 95th percentile, and a straight line through them. A line
says something only where it explains at least half of what happened, and within a year.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.database import Connection

DAYS = 30
LIMITS: Mapping[str, float] = MappingProxyType({"cpu": 80.0, "memory": 85.0, "disk": 90.0})
R2_MIN = 0.5
HOURS_MIN = 48  # less history is no trend
DAYS_AHEAD_MAX = 365.0

_TREND = """
    SELECT s.name, t.{label} AS thing,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY t.{column}) AS p95,
           regr_slope(t.{column}, extract(epoch FROM t.time)::float8 / 86400) AS per_day,
           regr_r2(t.{column}, extract(epoch FROM t.time)::float8) AS r2,
           regr_intercept(t.{column}, extract(epoch FROM t.time - now())::float8) AS today,
           count(t.{column}) AS hours
    FROM {table}_1h t JOIN server s ON s.id = t.server_id
    WHERE t.time >= now() - make_interval(days => $1) AND t.{column} IS NOT NULL
    GROUP BY 1, 2
"""
_SOURCES = {
    "cpu": ("cpu", "usage_percent", "server_id"),
    "memory": ("memory", "used_percent", "server_id"),
    "disk": ("disk_usage", "used_percent", "mount"),
}


@dataclass(slots=True, kw_only=True)
class Use:
    """How much is used, in percent; `days_left` None where nothing tends to the limit."""

    p95: float
    days_left: float | None
    mount: str | None = None


@dataclass(slots=True, kw_only=True)
class Server:
    """A server; of its filesystems the one that meets its limit first, else the fullest."""

    name: str
    uses: dict[str, Use] = field(default_factory=dict[str, Use])


async def read(connection: Connection) -> Sequence[Server]:
    """Read the last 30 days of all servers, by name; servers without hours are absent."""
    found: dict[str, Server] = {}
    for kind, (table, column, label) in _SOURCES.items():
        statement = _TREND.format(table=table, column=column, label=label)
        for row in await connection.fetch(statement, DAYS):
            enough = row["hours"] >= HOURS_MIN
            left = days_left(
                row["today"] if enough else row["p95"],
                per_day=row["per_day"] if enough else None,
                r2=row["r2"],
                limit=LIMITS[kind],
            )
            mount = row["thing"] if kind == "disk" else None
            use = Use(p95=row["p95"], days_left=left, mount=mount)
            uses = found.setdefault(row["name"], Server(name=row["name"])).uses
            if kind not in uses or _is_worse(use, uses[kind]):
                uses[kind] = use
    return [found[name] for name in sorted(found)]


def days_left(
    today: float | None, *, per_day: float | None, r2: float | None, limit: float
) -> float | None:
    """Return in how many days a line meets a limit; 0 where it is above it, None where never."""
    if today is None:
        return None
    if today >= limit:
        return 0.0
    if per_day is None or r2 is None or per_day <= 0 or r2 < R2_MIN:
        return None
    days = (limit - today) / per_day
    return days if days <= DAYS_AHEAD_MAX else None


def _is_worse(one: Use, other: Use) -> bool:
    """Whether the first meets its limit sooner, or is fuller where neither does."""
    never = DAYS_AHEAD_MAX + 1
    left = [never if use.days_left is None else use.days_left for use in (one, other)]
    return left[0] < left[1] or (left[0] == left[1] and one.p95 > other.p95)
