"""Rows of points, parted into series."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from storage import catalog

SCALED_DECIMALS = 9  # of bytes shown as GB: half a byte is 4.7e-10 GB
ROWS_AT_ONCE = 500  # 1 ms of work, then others have their turn

Point = tuple["datetime", float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of one thing, the oldest first."""

    labels: Mapping[str, str]
    points: Sequence[Point]


async def part(
    rows: Sequence[asyncpg.Record],
    *,
    metric: catalog.Metric,
    label_names: Sequence[str],
    known: Mapping[str, str],
) -> list[Series]:
    """Part rows into series in the order of their labels, without values JSON has no word for.

    Args:
        rows: (time, value, labels), the oldest first.
        metric: whose unit the values are turned into.
        label_names: of the labels in the rows.
        known: labels that all series have.
    """
    convert = _converter(metric)
    isfinite = math.isfinite
    # Labels of custom metrics are dicts, which can't be hashed.
    name_of: Callable[[Sequence[object]], object] = repr if "labels" in label_names else tuple
    parts: dict[object, tuple[tuple[object, ...], list[Point]]] = {}
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        for row in rows[begin : begin + ROWS_AT_ONCE]:
            time, value, *key = row
            if isfinite(value):
                name = name_of(key)
                if name not in parts:
                    parts[name] = (tuple(key), [])
                parts[name][1].append((time, convert(value)))
        await asyncio.sleep(0)
    ordered = sorted(parts.values(), key=lambda each: [_order(value) for value in each[0]])
    return [
        Series(labels={**_labels(label_names, key), **known}, points=points)
        for key, points in ordered
    ]


def _labels(names: Sequence[str], values: Sequence[object]) -> dict[str, str]:
    """Name the labels of a series; what is unknown is left out."""
    labels: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if name == "labels" and isinstance(value, dict):
            labels |= {str(key): str(each) for key, each in value.items()}
        elif value is not None:
            labels[name] = str(value)
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
