"""Random samples and rollups of a span, for a few servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.history import CORES, INTERVAL, SERIES
from storage.engines import rollup

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from storage import catalog
    from storage.database import Connection


async def fill_raw(
    connection: Connection, table: catalog.Table, begin: datetime, end: datetime
) -> None:
    """Give every server samples, 10 s apart."""
    columns = {column.name: _random(column.sql_type) for column in table.values}
    await _fill(connection, table.name, table, columns, (begin, end, INTERVAL))


async def fill_rollup(
    connection: Connection, table: catalog.Table, tier: rollup.Tier, begin: datetime, end: datetime
) -> None:
    """Give every server imported rollups, where there are no samples to make them from."""
    definition = rollup.of(
        table.name, [(c.name, c.sql_type) for c in (*table.labels, *table.values)]
    )
    kinds = {name + end: kind for name, kind in definition.values for end in ("", "_min", "_max")}
    labels = {group.name for group in definition.groups} | set(definition.described)
    columns = {
        name: _random(kinds[name]) if name in kinds else str(tier.width // INTERVAL)
        for name in definition.columns[2:]
        if name not in labels
    }
    target = f"{rollup.INTERNAL}.{table.name}_{tier.name}_archive"
    await _fill(connection, target, table, columns, (begin, end, tier.width), labels)


async def _fill(
    connection: Connection,
    target: str,
    table: catalog.Table,
    columns: dict[str, str],
    span: tuple[datetime, datetime, timedelta],
    labels: set[str] | None = None,
) -> None:
    """Insert a row for every step, server and series."""
    begin, end, step = span
    names, rows = SERIES.get(table.name, ((), []))
    values = ", ".join("(" + ", ".join(map(repr, row)) + ")" for row in rows)
    series = f" CROSS JOIN (VALUES {values}) l ({', '.join(names)})" if rows else ""
    chosen = {
        name: f"l.{name}::jsonb" if name == "labels" else f"l.{name}"
        for name in names
        if labels is None or name in labels
    }
    every = chosen | columns
    await connection.execute(
        f"INSERT INTO {target} (time, server_id, {', '.join(every)})"
        f" SELECT t, s.id, {', '.join(every.values())}"
        " FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 ms', $3::interval) t"
        f" CROSS JOIN server s{series}",
        begin,
        end,
        step,
    )


def _random(kind: str) -> str:
    match kind:
        case "real[]":
            return f"ARRAY[{', '.join(['random() * 100'] * CORES)}]::real[]"
        case "bigint":
            return "(random() * 1e10)::bigint"
        case _:
            return f"(random() * 100)::{kind}"
