"""Rows of points, parted into series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from storage import catalog

SCALED_DECIMALS = 9  # of bytes shown as GB: half a byte is 4.7e-10 GB

Point = tuple["datetime", float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The points of one thing, the oldest first."""

    labels: Mapping[str, str]
    points: Sequence[Point]


class Parts:
    """Parts rows into series, as they come, without values JSON has no word for.

    Args:
        metric: whose unit the values are turned into.
        label_names: of the labels in the rows.
        known: labels that all series have.
    """

    def __init__(
        self, *, metric: catalog.Metric, label_names: Sequence[str], known: Mapping[str, str]
    ) -> None:
        self._convert = _converter(metric)
        self._label_names = label_names
        self._known = known
        # Labels of custom metrics are dicts, which can't be hashed.
        self._name_of: Callable[[Sequence[object]], object] = (
            repr if "labels" in label_names else tuple
        )
        self._parts: dict[object, tuple[tuple[object, ...], list[Point]]] = {}

    def add(self, rows: Sequence[asyncpg.Record]) -> None:
        """Add (time, value, labels), the oldest first; blocks for 2 µs a row."""
        convert, name_of, parts, isfinite = (
            self._convert,
            self._name_of,
            self._parts,
            math.isfinite,
        )
        for row in rows:
            time, value, *key = row
            if isfinite(value):
                name = name_of(key)
                if name not in parts:
                    parts[name] = (tuple(key), [])
                parts[name][1].append((time, convert(value)))

    def series(self) -> list[Series]:
        """Return the series in the order of their labels."""
        ordered = sorted(
            self._parts.values(), key=lambda each: [_order(value) for value in each[0]]
        )
        return [
            Series(labels={**_labels(self._label_names, key), **self._known}, points=points)
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
