"""The history of one metric of one server, as series of points.

        catalog.Metric + labels + [start, end) + step  ->  tier  ->  SQL  ->  Answer

NULL is no point, and nothing is filled in: a gap stays a gap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import catalog, mounts, tiers
from storage.series import Parts, Series
from storage.series_sql import SeriesSql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection
    from storage.tiers import Choice

MAX_POINTS = 20_000  # in one answer, over all its series
ROWS_AT_ONCE = 1000  # 3 ms of work, then others have their turn
MIN_STEP_S = 5
MAX_STEP_S = 86_400
# What is proposed when an answer would be too long: steps that people recognise.
STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)


class UnknownLabel(LookupError):
    """The metric has no such label."""


class InvalidLabel(ValueError):
    """The label can't have this value."""


class RawOnly(ValueError):
    """Something is kept in raw samples only, and they can't answer.

    Args:
        what: a label or a metric that rollups do not have.
        days: for how long raw samples are kept.
    """

    def __init__(self, what: str, *, days: float) -> None:
        super().__init__(
            f"{what} is kept with raw samples only: ask for no step, or one under"
            f" {tiers.MINUTE.width_s}s, and the last {days:g} days"
        )
        self.what = what
        self.days = days


class TooManyPoints(ValueError):
    """The answer would be longer than allowed.

    Args:
        fitting_step_s: the smallest step that would fit; None where none would.
    """

    def __init__(self, *, fitting_step_s: int | None) -> None:
        advice = (
            f"step={fitting_step_s} would fit"
            if fitting_step_s
            else "choose a shorter range or filter by label"
        )
        super().__init__(f"the answer would have more than {MAX_POINTS} points; {advice}")
        self.fitting_step_s = fitting_step_s


class Aggregate(StrEnum):
    """What becomes of the samples of one step."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked; `step_s` None asks for the finest points that fit in an answer.

    With a step, samples in [start, end) are put together in buckets that begin at multiples of the
    step since 1970; a point stands at the begin of its bucket, which for the first one may lie
    before `start`. Of rollups, all buckets count that the range touches.
    """

    metric: catalog.Metric
    server_id: int
    start: datetime
    end: datetime
    step_s: int | None = None
    aggregate: Aggregate = Aggregate.AVG
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All series that have points, in the order of their labels.

    `step_s` is None for samples as they are; it may be longer than asked for. The points are
    `approximate` where averages of buckets were put together: values that are missing now and then
    weigh too much there.
    """

    tier: str
    step_s: int | None
    series: Sequence[Series]
    approximate: bool = False


def filter_names(metric: catalog.Metric) -> tuple[str, ...]:
    """Return the labels that this metric's series can be chosen by.

    Disk traffic is stored by device and may be asked for by mount. The labels of custom metrics
    are their own: any name will do.
    """
    names = [name for name in metric.table.label_names if name != "labels"]
    if metric.table is catalog.DISK_IO:
        names.append("mount")
    if metric.per_element:
        names.append(metric.per_element)
    return tuple(names)


async def read(connection: Connection, query: Query, *, now: datetime) -> Answer:
    """Answer a query from the tier that suits its step and its age (tiers.choose).

    Raises:
        UnknownLabel: the metric has no such label.
        InvalidLabel: a number was expected.
        RawOnly: rollups have no such metric or label, and raw samples do not go there.
        TooManyPoints: choose a step, or a longer one.
    """
    kept = await tiers.kept(connection)
    choices = tiers.choose(query.step_s, start=query.start, now=now, kept=kept)
    only_raw = _kept_raw_only(query)
    if only_raw:
        choices = [choice for choice in choices if choice.tier is tiers.RAW]
        if not choices:
            raise RawOnly(only_raw, days=kept[tiers.RAW.name] / tiers.DAY)
    for choice in choices:
        series = await _fetch(connection, query, choice)
        if series is not None:
            return Answer(
                tier=choice.tier.name,
                step_s=choice.step_s,
                series=series,
                approximate=choice.combines and query.aggregate is Aggregate.AVG,
            )
    sql = await _sql(connection, query, choices[-1])
    count = await connection.fetchval(sql.count(), *sql.arguments)
    raise TooManyPoints(
        fitting_step_s=_fitting_step(query, choices[-1], count, raw_only=bool(only_raw))
    )


async def _sql(connection: Connection, query: Query, choice: Choice) -> SeriesSql:
    """Return the statements that read a tier, with all label filters."""
    sql = SeriesSql(
        query.metric,
        choice.tier,
        aggregate=query.aggregate,
        server_id=query.server_id,
        start=query.start,
        end=query.end,
    )
    for name, value in query.labels.items():
        await _filter(connection, sql, query, choice, name, value)
    return sql


async def _fetch(connection: Connection, query: Query, choice: Choice) -> list[Series] | None:
    """Return all series of a tier; None where they have more points than an answer may.

    Rows are taken ROWS_AT_ONCE: to decode twenty thousand would hold up the whole process.
    """
    sql = await _sql(connection, query, choice)
    limit = MAX_POINTS + 1
    if choice.step_s is None or choice.step_s == choice.tier.width_s:
        statement = sql.rows(limit=limit)
    else:
        statement = sql.stepped(step_s=choice.step_s, limit=limit)
    parts = Parts(
        metric=query.metric,
        label_names=choice.tier.label_names(query.metric),
        known=_known_labels(query),
    )
    count = 0
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(statement, *sql.arguments)
        while rows := await cursor.fetch(ROWS_AT_ONCE):
            count += len(rows)
            if count > MAX_POINTS:
                return None
            parts.add(rows)
    return parts.series()


def _known_labels(query: Query) -> dict[str, str]:
    """Return the labels that series have because they were chosen by them."""
    by_mount = query.metric.table is catalog.DISK_IO and "mount" in query.labels
    return {"mount": query.labels["mount"]} if by_mount else {}


def _kept_raw_only(query: Query) -> str | None:
    """Return what rollups have not: the metric, or a label that is filtered by; None if nothing."""
    table = query.metric.table
    if not tiers.MINUTE.has(table, query.metric.column.name):
        return query.metric.name
    stored = {column.name for column in table.labels}
    names = (name for name in query.labels if name in stored)
    return next((name for name in names if not tiers.MINUTE.has(table, name)), None)


async def _filter(
    connection: Connection, sql: SeriesSql, query: Query, choice: Choice, name: str, value: str
) -> None:
    """Apply one label filter."""
    metric = query.metric
    types = {column.name: column.sql_type for column in metric.table.labels}
    if name == metric.per_element:
        sql.where_element(_integer(name, value))
    elif types.get(name) == "bigint":
        sql.where_equal(name, _integer(name, value))
    elif types.get(name) == "text":
        sql.where_equal(name, value)
    elif name == "mount" and metric.table is catalog.DISK_IO:
        devices = await mounts.find_devices(
            connection,
            query.server_id,
            [value],
            start=choice.tier.begin(query.start),
            end=query.end,
            tier=choice.tier,
        )
        sql.where_any("device", mounts.devices_to_read(value, devices.get(value)))
    elif metric.table is catalog.CUSTOM:
        sql.where_json("labels", name, value)
    else:
        expected = ", ".join(filter_names(metric)) or "no label at all"
        raise UnknownLabel(f"{metric.name} has {expected}, not {name[:100]!r}")


def _integer(name: str, value: str) -> int:
    """Read a label whose values are small numbers."""
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidLabel(f"{name} must be a whole number, got {value[:100]!r}")
    return int(value)


def _fitting_step(query: Query, choice: Choice, series: int, *, raw_only: bool) -> int | None:
    """Return the smallest step, longer than the one that was tried, whose answer fits."""
    seconds = (query.end - query.start).total_seconds()
    longest = tiers.MINUTE.width_s - 1 if raw_only else MAX_STEP_S
    return next(
        (
            step
            for step in STEPS_S
            if (choice.step_s or 0) < step <= longest
            and series * (seconds // step + 2) <= MAX_POINTS
        ),
        None,
    )
