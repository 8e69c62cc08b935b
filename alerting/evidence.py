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
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from alerting import charts
from alerting.notifications import Kind
from alerting.notifiers import rendering
from storage import catalog, disks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is to blame, in lines, and the course of the last hour, thinned out by averages."""

    lines: tuple[str, ...] = ()
    course: tuple[tuple[datetime, float], ...] = ()


async def gather(
    connection: Connection,
    *,
    metric: str,
    server_id: int,
    labels: Mapping[str, str | None],
    at: datetime,
) -> Evidence:
    """Look at the samples before a moment; empty for a metric that no table has."""
    if metric not in catalog.METRICS:
        return Evidence()
    until = at + timedelta(seconds=1)
    lines: list[str] = []
    table = metric.partition(".")[0]
    if table in {"cpu", "memory"}:
        lines += await _top(connection, server_id, table, until)
    if table == "disk_usage" and labels.get("mount") is not None:
        lines += await _growth(connection, server_id, str(labels["mount"]), until)
    if table == "network":
        lines.append(f"interface {labels.get('interface')}")
    course = await series(
        connection,
        metric=metric,
        server_id=server_id,
        labels=labels,
        span=(until - COURSE, until),
        step=COURSE / COURSE_POINTS,
    )
    return Evidence(lines=tuple(lines), course=tuple(course))


async def add(connection: Connection, notification: Notification) -> Notification:
    """Return the message with its evidence; as it is where there is none to be had."""
    n = notification
    if n.kind not in KINDS or n.server_id is None or n.members:
        return n
    found = await gather(
        connection, metric=n.metric, server_id=n.server_id, labels=n.labels, at=n.at
    )
    if len(found.course) < 2:
        return dataclasses.replace(n, evidence=found.lines)
    values = [value for _, value in found.course]
    low, high = (rendering.amount(each, n.unit) for each in (min(values), max(values)))
    line = f"{charts.sparkline(values)}  {low} to {high} in the last hour"
    return dataclasses.replace(
        n,
        evidence=found.lines,
        sparkline=line,
        chart=charts.png(
            found.course,
            threshold=n.threshold,
            labels=(high, low),
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
    row = await connection.fetchrow(_GROWTH, server_id, mount, until, until - disks.GROWTH)
    return [] if row is None else growth(**dict(row))


def growth(
    *, bytes_per_s: float | None, r2: float | None, samples: int, free_bytes: int | None
) -> list[str]:
    """Put a trend in words; nothing where it is none."""
    hours = disks.hours_until_full(free_bytes, bytes_per_s=bytes_per_s, r2=r2)
    if samples < disks.GROWTH_SAMPLES_MIN or hours is None or bytes_per_s is None:
        return []
    speed = rendering.amount(bytes_per_s * disks.HOUR_S, "bytes")
    lasts = rendering.duration(hours * disks.HOUR_S)
    full = "full now" if hours <= 0 else f"full in about {lasts}"
    return [f"grows by {speed} an hour over the last 6 h: {full}"]


async def series(
    connection: Connection,
    *,
    metric: str,
    server_id: int,
    labels: Mapping[str, str | None],
    span: tuple[datetime, datetime],
    step: timedelta,
) -> list[tuple[datetime, float]]:
    """Return a series in `(from, to]`, averaged over steps; a microsecond is every sample.

    Args:
        connection: to read with.
        metric: of the catalog.
        server_id: of the server.
        labels: of the series, as its alert has them.
        span: from, excluded, and to.
        step: how long a point stands for.
    """
    found = catalog.find_metric(metric)
    value = f"m.{found.column.name}"
    parameters: list[object] = [server_id, *span, step]
    conditions: list[str] = []

    def narrow(expression: str, wanted: object) -> None:
        parameters.append(wanted)
        conditions.append(f" AND {expression} IS NOT DISTINCT FROM ${len(parameters)}")

    if found.per_element is not None:
        if not (number := str(labels.get(found.per_element))).isdecimal():
            return []
        parameters.append(int(number) + 1)
        value = f"nullif({value}[${len(parameters)}::int], 'NaN')"
    if found.table is catalog.CUSTOM:
        narrow("m.name", labels.get("name"))
        narrow("m.labels", {key: text for key, text in labels.items() if key != "name"})
    else:
        for label in found.table.series:
            if label in labels:
                narrow(f"m.{label}::text", labels[label])
    rows = await connection.fetch(
        f"""
        SELECT date_bin($4, m.time, 'epoch') AS moment, avg({value})::float8 AS value
        FROM {found.table.name} m
        WHERE m.server_id = $1 AND m.time > $2 AND m.time <= $3
          AND {value} IS NOT NULL{"".join(conditions)}
        GROUP BY moment ORDER BY moment
        """,  # noqa: S608 - names of the catalog
        *parameters,
    )
    return [(row["moment"], row["value"]) for row in rows]


def _share(percent: float | None) -> str:
    return "?" if percent is None else f"{percent:.0f} %"


def _size(count: int | None) -> str:
    return "?" if count is None else rendering.amount(float(count), "bytes")
