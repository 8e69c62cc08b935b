"""The filesystems of a server as they are now, and when each is full if it goes on like this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from storage.database import Connection

SEEN_WITHIN = timedelta(days=1)
GROWTH = timedelta(hours=6)
GROWTH_SAMPLES_MIN = 12
R2_MIN = 0.8  # a line that explains less is none
HOURS_MAX = 24.0 * 90
HOUR_S = 3600.0

_NEWEST = """
    SELECT DISTINCT ON (mount) mount, time, device, fstype, total_bytes, used_bytes, free_bytes,
           used_percent, inodes_total, inodes_used, inodes_used_percent
    FROM disk_usage WHERE server_id = $1 AND time > $2 AND time <= $3 ORDER BY mount, time DESC
"""

_GROWTH = """
    SELECT mount, regr_slope(used_bytes::float8, extract(epoch FROM time)::float8) AS bytes_per_s,
           regr_r2(used_bytes::float8, extract(epoch FROM time)::float8) AS r2,
           count(used_bytes) AS samples
    FROM disk_usage WHERE server_id = $1 AND time > $2 AND time <= $3 GROUP BY mount
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A filesystem; `hours_until_full` is None where it does not grow in a straight line."""

    mount: str
    time: datetime
    device: str | None
    fstype: str | None
    total_bytes: int | None
    used_bytes: int | None
    free_bytes: int | None
    used_percent: float | None
    inodes_total: int | None
    inodes_used: int | None
    inodes_used_percent: float | None
    hours_until_full: float | None = None


async def read(connection: Connection, server_id: int, *, now: datetime) -> Sequence[Disk]:
    """Return the filesystems that were seen within a day, by mount."""
    rows = await connection.fetch(_NEWEST, server_id, now - SEEN_WITHIN, now)
    growth = {
        row["mount"]: row for row in await connection.fetch(_GROWTH, server_id, now - GROWTH, now)
    }
    disks: list[Disk] = []
    for row in rows:
        trend = growth.get(row["mount"])
        hours = None
        if trend is not None and trend["samples"] >= GROWTH_SAMPLES_MIN:
            hours = hours_until_full(
                row["free_bytes"], bytes_per_s=trend["bytes_per_s"], r2=trend["r2"]
            )
        disks.append(Disk(**dict(row), hours_until_full=hours))
    return disks


def hours_until_full(
    free_bytes: int | None, *, bytes_per_s: float | None, r2: float | None
) -> float | None:
    """Return when a straight line meets the end, at most 90 days ahead; None where it does not."""
    if free_bytes is None or bytes_per_s is None or r2 is None:
        return None
    if r2 < R2_MIN or bytes_per_s <= 0:
        return None
    hours = free_bytes / bytes_per_s / HOUR_S
    return hours if hours <= HOURS_MAX else None
