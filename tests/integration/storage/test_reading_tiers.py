"""Answers from all tiers against a computation in Python that shares no code with the engines."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from storage import catalog, engines, reading

from . import week
from .test_rollups_are_equal import load

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SERVER = week.SERVERS[0]
# Awkward edges: in the middle of minutes and hours, over the night when clocks go back.
RANGES = {
    "a morning": (timedelta(days=1, hours=7, seconds=13), timedelta(hours=5, seconds=30)),
    "the long night": (timedelta(days=5, hours=22, minutes=3), timedelta(hours=26)),
}
METRICS = (
    "cpu.usage_percent",
    "cpu.core_usage_percent",
    "memory.used_bytes",
    "disk_usage.used_percent",
    "disk_io.await_ms",
    "network.rx_bytes_per_s",
    "tcp.established",
    "process.cpu_percent",
    "process.memory_rss_bytes",
    "pressure.io_full_avg10",
    "custom.value",
    "agent_health.spool_bytes",
)
MINUTE, HOUR = 60, 3600
FOLD = {"avg": lambda values: sum(values) / len(values), "min": min, "max": max}


@pytest.fixture(scope="module")
def rows() -> dict[str, list[tuple]]:
    """Return what lies around the ranges: the other days are for other tests."""
    around = timedelta(hours=3)
    return {
        table: [
            row
            for row in stored
            if any(
                week.BEGIN + after - around < row[0] < week.BEGIN + after + length + around
                for after, length in RANGES.values()
            )
        ]
        for table, stored in week.samples().items()
    }


@pytest.fixture(scope="module")
def rollups(rows) -> dict[tuple[str, str], dict]:
    """Return the rollups of every table by (table, tier)."""
    return {
        (table.name, tier): week.expected(rows, table, tier)
        for table in catalog.TABLES.values()
        for tier in week.TIERS
    }


def begin(moment: datetime, step_s: int) -> datetime:
    return moment - (moment - EPOCH) % timedelta(seconds=step_s)


def labels(table: catalog.Table, key: tuple, *, tier: str) -> tuple:
    """Return a series' labels as an answer has them, to compare by."""
    if table is catalog.CUSTOM:
        found = {"name": key[0], **dict(key[1])}
    elif table is catalog.PROCESS and tier != "raw":
        found = dict(zip(("name", "username"), key, strict=True))
    else:
        found = dict(zip(table.series, key, strict=True))
    return tuple(sorted((k, str(v)) for k, v in found.items() if v is not None))


def raw_points(rows, metric, start, end) -> dict[tuple, list[tuple[datetime, float]]]:
    """Return every sample's value by series."""
    table, found = metric.table, defaultdict(list)
    for row in rows[table.name]:
        sample = dict(zip(table.columns, row, strict=True))
        if sample["server_id"] != SERVER or not start <= sample["time"] < end:
            continue
        if table is catalog.PROCESS:
            key = labels(table, tuple(sample[name] for name in table.series), tier="raw")
        else:
            key = labels(table, week.key(table, sample), tier="raw")
        put(found, metric, key, sample["time"], sample[metric.column.name])
    return found


def put(found, metric, key, moment, value) -> None:
    """Add a point; each element of an array is a series."""
    if not metric.per_element:
        if value is not None:
            found[key].append((moment, value))
        return
    for index, each in enumerate(value or ()):
        if each is not None:
            found[(*key, ("core", str(index)))].append((moment, each))


def rolled_up(rollups, metric, tier, aggregate, start, end) -> dict[tuple, list]:
    """Return the points of a tier, and by (series, time) the rows or ticks behind each."""
    table, found = metric.table, defaultdict(list)
    weights = {}
    column = metric.column.name + ("" if aggregate == "avg" else f"_{aggregate}")
    width_s = {"1m": MINUTE, "1h": HOUR}[tier]
    for (bucket, server_id, *key), columns in rollups[table.name, tier].items():
        if server_id != SERVER or not begin(start, width_s) <= bucket < end:
            continue
        series = labels(table, tuple(key), tier=tier)
        put(found, metric, series, bucket, columns[column])
        weights[series, bucket] = columns.get("ticks_seen") or columns["sample_count"]
    return {series: sorted(points) for series, points in found.items()}, weights


def combined(points, step_s, aggregate, weights=None) -> dict[tuple, list]:
    """Put points together by the step."""
    made = {}
    for series, each in points.items():
        steps = defaultdict(list)
        for moment, value in each:
            name = tuple(pair for pair in series if pair[0] != "core")
            weight = weights[name, moment] if weights and aggregate == "avg" else 1
            steps[begin(moment, step_s)].append((value, weight))
        made[series] = [
            (moment, sum(v * w for v, w in values) / sum(w for _, w in values))
            if aggregate == "avg"
            else (moment, FOLD[aggregate]([v for v, _ in values]))
            for moment, values in sorted(steps.items())
        ]
    return made


def compare(answer: reading.Answer, wanted: dict[tuple, list], what: str) -> None:
    found = {tuple(sorted(series.labels.items())): series.points for series in answer.series}
    assert found.keys() == wanted.keys(), what
    for series, points in wanted.items():
        assert [t for t, _ in found[series]] == [t for t, _ in sorted(points)], (what, series)
        for (moment, value), (_, right) in zip(found[series], sorted(points), strict=True):
            assert math.isclose(value, right, rel_tol=1e-5, abs_tol=1e-9), (what, series, moment)


@pytest.mark.timeout(240)
async def test_every_tier_answers_what_python_computes(connection, rows, rollups):
    engine = await engines.of(connection)
    await engine.maintain(connection, week.END)
    await load(connection, rows)
    await engine.roll_up(connection)

    for metric in map(catalog.find_metric, METRICS):
        for name, (after, length) in RANGES.items():
            start = week.BEGIN + after
            end = start + length
            for aggregate in reading.Aggregate:
                for step_s in (None, 30, 60, 300, 3600, 7200):
                    query = reading.Query(
                        metric=metric,
                        server_id=SERVER,
                        start=start,
                        end=end,
                        step_s=step_s,
                        aggregate=aggregate,
                    )
                    answer = await reading.read(connection, query, now=week.END)

                    what = f"{metric.name} {name} {aggregate} {step_s} from {answer.tier}"
                    assert answer.step_s == step_s, what
                    assert answer.approximate == (aggregate == "avg" and step_s in {300, 7200})
                    if step_s is None or step_s < MINUTE:
                        assert answer.tier == "raw"
                        wanted = raw_points(rows, metric, start, end)
                        if step_s:
                            wanted = combined(wanted, step_s, aggregate)
                    else:
                        assert answer.tier == ("1m" if step_s < HOUR else "1h")
                        wanted, weights = rolled_up(
                            rollups, metric, answer.tier, aggregate, start, end
                        )
                        if step_s not in {MINUTE, HOUR}:
                            wanted = combined(wanted, step_s, aggregate, weights)
                    compare(answer, wanted, what)
