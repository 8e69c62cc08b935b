"""The history of one metric of one server, as series of points.

        catalog.Metric + labels + [start, end) + step  ->  SQL  ->  Answer

NULL is no point, and nothing is filled in: a gap stays a gap.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from storage import catalog, mounts
from storage.series_sql import SeriesSql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from storage.database import Connection

MAX_POINTS = 20_000  # in one answer, over all its series
MIN_STEP_S = 5
MAX_STEP_S = 86_400
# What is proposed when an answer would be too long: steps that people recognise.
STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
SCALED_DECIMALS = 9  # of bytes shown as GB: half a byte is 4.7e-10 GB


class UnknownLabel(LookupError):
    """The metric has no such label."""


class InvalidLabel(ValueError):
    """The label can't have this value."""


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
class Tier:
    """A table to read from: `<metric table><suffix>`; raw samples have no step of their own."""

    name: str
    suffix: str = ""


RAW = Tier(name="raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked; `step_s` None asks for the samples as they are.

    With a step, samples in [start, end) are put together in buckets that begin at multiples of the
    step since 1970; a point stands at the begin of its bucket, which for the first one may lie
    before `start`.
    """

    metric: catalog.Metric
    server_id: int
    start: datetime
    end: datetime
    step_s: int | None = None
    aggregate: Aggregate = Aggregate.AVG
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


Point = tuple["datetime", float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of one thing, the oldest first."""

    labels: Mapping[str, str]
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All series that have points, in the order of their labels."""

    tier: str
    step_s: int | None
    series: Sequence[Series]


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


async def read(connection: Connection, query: Query) -> Answer:
    """Answer a query from the raw samples.

    Raises:
        UnknownLabel: the metric has no such label.
        InvalidLabel: a number was expected.
        TooManyPoints: choose a step, or a longer one.
    """
    sql = SeriesSql(
        query.metric,
        f"{query.metric.table.name}{RAW.suffix}",
        server_id=query.server_id,
        start=query.start,
        end=query.end,
    )
    for name, value in query.labels.items():
        await _choose(connection, sql, query, name, value)
    limit = MAX_POINTS + 1
    statement = (
        sql.raw(limit=limit)
        if query.step_s is None
        else sql.stepped(step_s=query.step_s, aggregate=query.aggregate, limit=limit)
    )
    rows = await connection.fetch(statement, *sql.arguments)
    if len(rows) > MAX_POINTS:
        count = await connection.fetchval(sql.count(), *sql.arguments)
        raise TooManyPoints(fitting_step_s=_fitting_step(query, count))
    return Answer(tier=RAW.name, step_s=query.step_s, series=_series(query, rows))


async def _choose(
    connection: Connection, sql: SeriesSql, query: Query, name: str, value: str
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
            connection, query.server_id, [value], start=query.start, end=query.end
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


def _series(query: Query, rows: Sequence[asyncpg.Record]) -> list[Series]:
    """Part rows into series, without values that JSON has no word for."""
    convert = _converter(query.metric)
    isfinite = math.isfinite
    if not query.metric.label_names:
        points = [(row[0], convert(row[1])) for row in rows if isfinite(row[1])]
        return [Series(labels={}, points=points)] if points else []
    parts: dict[str, tuple[tuple[object, ...], list[Point]]] = {}
    for row in rows:
        time, value, *key = row
        name = repr(key)  # labels of custom metrics can't be hashed
        if isfinite(value):
            parts.setdefault(name, (tuple(key), []))[1].append((time, convert(value)))
    ordered = sorted(parts.values(), key=lambda part: [_order(value) for value in part[0]])
    return [Series(labels=_labels(query, key), points=points) for key, points in ordered]


def _labels(query: Query, values: Sequence[object]) -> dict[str, str]:
    """Name the labels of a series; what is unknown is left out."""
    labels: dict[str, str] = {}
    for name, value in zip(query.metric.label_names, values, strict=True):
        if name == "labels" and isinstance(value, dict):
            labels |= {str(key): str(each) for key, each in value.items()}
        elif value is not None:
            labels[name] = str(value)
    if query.metric.table is catalog.DISK_IO and "mount" in query.labels:
        labels["mount"] = query.labels["mount"]
    return labels


def _order(value: object) -> tuple[int, int, str]:
    """Sort numbers by value, before text."""
    return (0, value, "") if isinstance(value, int) else (1, 0, str(value))


def _converter(metric: catalog.Metric) -> Callable[[float], float]:
    """Return what turns a stored value into the unit asked for, less meaningless digits."""
    factor = metric.factor
    if metric.column.sql_type in {"real", "real[]"}:
        # A real has seven digits that mean something: 45.2 comes back as 45.2, not 45.20000076.
        return lambda value: float(f"{value * factor:.7g}")
    if factor != 1:
        return lambda value: round(value * factor, SCALED_DECIMALS)
    return lambda value: value


def _fitting_step(query: Query, series: int) -> int | None:
    """Return the smallest step, longer than the one asked for, whose answer fits."""
    seconds = (query.end - query.start).total_seconds()
    return next(
        (
            step
            for step in STEPS_S
            if step > (query.step_s or 0) and series * (seconds // step + 2) <= MAX_POINTS
        ),
        None,
    )
