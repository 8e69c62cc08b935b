"""Many columns of one family at once, thinned out to what a chart can show.

    family + [start, end) + points  ->  step  ->  tier  ->  one statement  ->  aligned columns

All series of an answer share one list of moments. A gap is a moment without values: a line must not
be drawn across it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import catalog, tiers
from storage.reading import STEPS_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import asyncpg

    from storage.catalog import Table
    from storage.database import Connection
    from storage.tiers import Choice

GAP_INTERVALS = 2.5  # longer without a sample is a gap, as for alerts
POINTS_MAX = 2000
SERIES_MAX = 64  # devices, interfaces, cores; the first by name
DEFAULT_INTERVAL_S = 60.0
ROWS_MAX = POINTS_MAX * SERIES_MAX
DIGITS = 5  # more than a screen has pixels

FAMILIES: Mapping[str, Table] = {
    table.name: table
    for table in catalog.TABLES.values()
    if table not in (catalog.PROCESS, catalog.CUSTOM)
}

_INTERVAL = "SELECT interval_s FROM family_interval WHERE server_id = $1 AND family = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked; `cores` asks for each core of `cpu` in the place of its other columns.

    `columns` are some of `columns_of(table)`; None asks for all of them.
    """

    table: Table
    server_id: int
    start: datetime
    end: datetime
    points: int
    cores: bool = False
    columns: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One thing: its labels, and a list as long as the moments for each column."""

    labels: Mapping[str, str]
    columns: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Moments in seconds since 1970, and what was then.

    `step_s` is None for samples as they are.
    """

    tier: str
    step_s: int | None
    moments: Sequence[float]
    parts: Sequence[Part]


async def read(connection: Connection, query: Query, *, now: datetime) -> Answer:
    """Read a family from the tier that suits the width of a point and the age of the range."""
    kept = await tiers.kept(connection)
    interval_s = await connection.fetchval(_INTERVAL, query.server_id, query.table.name)
    interval_s = float(interval_s or DEFAULT_INTERVAL_S)
    choice = _choose(query, interval_s, now=now, kept=kept)
    names = [name for name in _columns(query) if choice.tier.has(query.table, name)]
    labels = ("core",) if query.cores else query.table.series
    rows = await connection.fetch(
        _statement(query, choice, names, labels),
        query.server_id,
        choice.tier.begin(query.start),
        query.end,
    )
    gap_s = GAP_INTERVALS * max(interval_s, choice.step_s or 0)
    moments = _with_gaps(sorted({row[0] for row in rows}), gap_s)
    return Answer(
        tier=choice.tier.name,
        step_s=choice.step_s,
        moments=moments,
        parts=_parts(rows, moments, names, labels),
    )


def _choose(
    query: Query, interval_s: float, *, now: datetime, kept: Mapping[str, timedelta]
) -> Choice:
    """Choose a step that gives about so many points, and the tier for it."""
    width_s = (query.end - query.start).total_seconds() / query.points
    if width_s <= interval_s:
        step_s = None  # as they are
    else:
        step_s = next((step for step in STEPS_S if step >= width_s), STEPS_S[-1])
    return tiers.choose(step_s, start=query.start, now=now, kept=kept)[0]


def columns_of(table: Table) -> list[str]:
    """Return the columns of a family that can be read; arrays are left out."""
    return [column.name for column in table.values if column.sql_type != "real[]"]


def _columns(query: Query) -> list[str]:
    """Return the columns to read."""
    if query.cores:
        return ["usage_percent"]
    wanted = columns_of(query.table)
    return wanted if query.columns is None else [name for name in wanted if name in query.columns]


def _statement(query: Query, choice: Choice, names: Sequence[str], labels: Sequence[str]) -> str:
    """Return the statement: moment, labels, columns. All identifiers are the catalog's."""
    source = f"{query.table.name}{choice.tier.suffix} t"
    values = [f"t.{name}" for name in names]
    shown = [f"t.{name}" for name in labels]
    if query.cores:
        source += (
            " CROSS JOIN LATERAL unnest(t.core_usage_percent) WITH ORDINALITY AS e(value, position)"
        )
        values, shown = ["nullif(e.value, 'NaN')"], ["e.position - 1"]
    combined = choice.step_s is not None and choice.step_s != choice.tier.width_s
    moment = "t.time"
    if combined:
        moment = f"date_bin('{choice.step_s} s', t.time, TIMESTAMPTZ 'epoch')"
        values = [f"avg({value}::float8)" for value in values]
    columns = ", ".join([f"extract(epoch FROM {moment})::float8", *shown, *values])
    group = f"GROUP BY {', '.join([moment, *shown])}" if combined else ""
    # By series, so that of too many the first ones are whole; as Python orders them.
    order = shown if query.cores else [f'{label} COLLATE "C"' for label in shown]
    return (
        f"SELECT {columns} FROM {source}"  # noqa: S608 - names of the catalog
        f" WHERE t.server_id = $1 AND t.time >= $2 AND t.time < $3 {group}"
        f" ORDER BY {', '.join([*order, '1'])} LIMIT {ROWS_MAX}"
    )


def _with_gaps(moments: Sequence[float], gap_s: float) -> list[float]:
    """Put a moment without values into each gap."""
    filled: list[float] = []
    for moment in moments:
        if filled and moment - filled[-1] > gap_s:
            filled.append((moment + filled[-1]) / 2)
        filled.append(moment)
    return filled


def _parts(
    rows: Sequence[asyncpg.Record],
    moments: Sequence[float],
    names: Sequence[str],
    labels: Sequence[str],
) -> list[Part]:
    """Turn rows into columns, one part for each combination of labels."""
    place = {moment: index for index, moment in enumerate(moments)}
    first = 1 + len(labels)
    parts: dict[tuple[object, ...], list[list[float | None]]] = {}
    for row in rows:
        key = tuple(row[1:first])
        columns = parts.get(key)
        if columns is None:
            columns = parts[key] = [[None] * len(moments) for _ in names]
        index = place[row[0]]
        for column, value in zip(columns, row[first:], strict=True):
            column[index] = _short(value)
    ordered = sorted(parts.items(), key=lambda item: item[0])[:SERIES_MAX]
    return [
        Part(
            labels={name: str(value) for name, value in zip(labels, key, strict=True)},
            columns=dict(zip(names, columns, strict=True)),
        )
        for key, columns in ordered
    ]


def _short(value: float | None) -> float | None:
    """Keep the digits that can be seen."""
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
