"""Evidence: what is to blame for a firing, and how it came to it.

Gathered when a message is sent, from the samples around the moment that it speaks of. Evidence is
an extra: whatever goes wrong here, the message goes out without it.

- CPU and memory: the processes that used most in the last sample before;
- a filesystem: how fast it grows and when it is full, if a straight line through the last six hours
  explains at least 80 % of what happened (r²), else nothing is said;
- every metric of a table: its course over the last hour, for a chart or a line of text.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

from alerting import charts
from alerting.notifications import Kind
from alerting.notifiers import rendering
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from alerting.notifications import Notification
    from storage.database import Connection

KINDS = frozenset(
    {Kind.FIRED, Kind.SEVERITY_CHANGED, Kind.ANNOUNCED, Kind.ESCALATED, Kind.REPEATED}
)
TOP = 5
TOP_WITHIN = timedelta(seconds=150)  # the longest interval and a half of it, and some
COURSE = timedelta(hours=1)
COURSE_POINTS = 120
GROWTH = timedelta(hours=6)
GROWTH_SAMPLES_MIN = 12
R2_MIN = 0.8
FULL_HOURS_MAX = 24 * 90  # beyond, a straight line says nothing
HOUR_S = 3600.0

_TOP = """
    SELECT p.name, p.username, p.pid, p.cpu_percent, p.memory_rss_bytes
    FROM process p
    WHERE p.server_id = $1 AND p.{rank} <= $4 AND p.time = (
      SELECT max(newest.time) FROM process newest
      WHERE newest.server_id = $1 AND newest.time <= $2 AND newest.time > $3)
    ORDER BY p.{rank}, p.pid
"""

_GROWTH = """
    SELECT regr_slope(used_bytes::float8, extract(epoch FROM time)::float8) AS bytes_per_s,
           regr_r2(used_bytes::float8, extract(epoch FROM time)::float8) AS r2,
           count(*) AS samples, (array_agg(free_bytes ORDER BY time DESC))[1] AS free_bytes
    FROM disk_usage
    WHERE server_id = $1 AND mount = $2 AND time <= $3 AND time > $4
      AND used_bytes IS NOT NULL AND free_bytes IS NOT NULL
"""


async def add(connection: Connection, notification: Notification) -> Notification:
    """Return the message with its evidence; as it is where there is none to be had."""
    n = notification
    if n.kind not in KINDS or n.server_id is None or n.members or n.metric not in catalog.METRICS:
        return n
    until = n.at + timedelta(seconds=1)
    lines: list[str] = []
    table = n.metric.partition(".")[0]
    if table in {"cpu", "memory"}:
        lines += await _top(connection, n.server_id, table, until)
    if table == "disk_usage" and n.labels.get("mount") is not None:
        lines += await _growth(connection, n.server_id, str(n.labels["mount"]), until)
    if table == "network":
        lines.append(f"interface {n.labels.get('interface')}")
    course = await _course(connection, n, until)
    if len(course) < 2:
        return dataclasses.replace(n, evidence=tuple(lines))
    values = [value for _, value in course]
    low, high = (rendering.amount(each, n.unit) for each in (min(values), max(values)))
    line = f"{charts.sparkline(values)}  {low} to {high} in the last hour"
    return dataclasses.replace(
        n,
        evidence=tuple(lines),
        sparkline=line,
        chart=charts.png(
            course,
            threshold=n.threshold,
            labels=(rendering.amount(max(values), n.unit), rendering.amount(min(values), n.unit)),
            colour=rendering.colour(n),
        ),
    )


async def _top(
    connection: Connection, server_id: int, table: str, until: datetime
) -> Sequence[str]:
    """Name the processes that used most."""
    rank = "cpu_rank" if table == "cpu" else "memory_rank"
    rows = await connection.fetch(_TOP.format(rank=rank), server_id, until, until - TOP_WITHIN, TOP)
    return [
        f"{row['name']} ({row['username'] or '?'}, pid {row['pid']}):"
        f" {_share(row['cpu_percent'])} CPU, {_size(row['memory_rss_bytes'])}"
        for row in rows
    ]


async def _growth(
    connection: Connection, server_id: int, mount: str, until: datetime
) -> Sequence[str]:
    """Say how fast a filesystem grows and when it is full, where that is a straight line."""
    row = await connection.fetchrow(_GROWTH, server_id, mount, until, until - GROWTH)
    return [] if row is None else growth(**dict(row))


def growth(
    *, bytes_per_s: float | None, r2: float | None, samples: int, free_bytes: int | None
) -> list[str]:
    """Put a trend in words; nothing where it is none."""
    if bytes_per_s is None or r2 is None or free_bytes is None:
        return []
    if samples < GROWTH_SAMPLES_MIN or r2 < R2_MIN or bytes_per_s <= 0:
        return []
    hours = free_bytes / bytes_per_s / HOUR_S
    if hours > FULL_HOURS_MAX:
        return []
    speed = rendering.amount(bytes_per_s * HOUR_S, "bytes")
    full = "full now" if hours <= 0 else f"full in about {rendering.duration(hours * HOUR_S)}"
    return [f"grows by {speed} an hour over the last 6 h: {full}"]


async def _course(
    connection: Connection, notification: Notification, until: datetime
) -> list[tuple[datetime, float]]:
    """Return the last hour of the series, thinned out by averages."""
    metric = catalog.find_metric(notification.metric)
    if metric.per_element is not None or metric.table is catalog.CUSTOM:
        return []
    labels = [label for label in metric.table.series if label in notification.labels]
    conditions = "".join(f" AND {label} = ${n}" for n, label in enumerate(labels, start=5))
    rows = await connection.fetch(
        f"""
        SELECT date_bin($4, time, 'epoch') AS moment, avg({metric.column.name})::float8 AS value
        FROM {metric.table.name}
        WHERE server_id = $1 AND time <= $2 AND time > $3
          AND {metric.column.name} IS NOT NULL{conditions}
        GROUP BY moment ORDER BY moment
        """,  # noqa: S608 - names of the catalog
        notification.server_id,
        until,
        until - COURSE,
        COURSE / COURSE_POINTS,
        *(notification.labels[label] for label in labels),
    )
    return [(row["moment"], row["value"]) for row in rows]


def _share(percent: float | None) -> str:
    return "?" if percent is None else f"{percent:.0f} %"


def _size(count: int | None) -> str:
    return "?" if count is None else rendering.amount(float(count), "bytes")
