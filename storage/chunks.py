"""The pieces that metric tables lie in, on either engine: partitions or chunks, with their sizes.

Retention drops whole pieces, so they say what is due and what a shorter retention would take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import catalog, engines, retention
from storage.engines.rollup import INTERNAL, TIERS

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Connection

# A chunk without statistics has few rows, or came minutes ago: those are counted, not estimated.
PARTITIONS = f"""
SELECT r.relation, r.tier, c.oid::regclass::text AS name,
       (b.bound)[1]::timestamptz AS begin, (b.bound)[2]::timestamptz AS end,
       pg_relation_size(c.oid) AS heap_bytes,
       pg_indexes_size(c.oid) AS index_bytes,
       pg_total_relation_size(c.oid) - pg_relation_size(c.oid) - pg_indexes_size(c.oid)
         AS toast_bytes,
       c.reltuples::bigint AS rows, false AS compressed
FROM unnest($1::text[], $2::text[]) AS r (relation, tier)
JOIN pg_inherits i ON i.inhparent = (
  CASE r.tier WHEN 'raw' THEN r.relation ELSE '{INTERNAL}.' || r.relation || '_rollup' END
)::regclass
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL regexp_match(
  pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''([^'']+)''\\) TO \\(''([^'']+)''\\)') AS b (bound)
ORDER BY 1, 4
"""  # noqa: S608 - constants

HYPERTABLES = f"""
SELECT r.relation, r.tier,
       coalesce(a.materialization_hypertable_schema, current_schema()) AS schema,
       coalesce(a.materialization_hypertable_name, r.relation) AS name
FROM unnest($1::text[], $2::text[]) AS r (relation, tier)
LEFT JOIN timescaledb_information.continuous_aggregates a
  ON a.view_schema = '{INTERNAL}' AND a.view_name = r.relation || '_rollup'
"""  # noqa: S608 - constants

CHUNKS = f"""
SELECT h.relation, h.tier, format('%I.%I', c.chunk_schema, c.chunk_name) AS name,
       c.range_start AS begin, c.range_end AS end,
       s.table_bytes AS heap_bytes, s.index_bytes, s.toast_bytes,
       approximate_row_count(format('%I.%I', c.chunk_schema, c.chunk_name)::regclass) AS rows,
       c.is_compressed AS compressed
FROM ({HYPERTABLES}) h
CROSS JOIN LATERAL chunks_detailed_size(format('%I.%I', h.schema, h.name)::regclass) s
JOIN timescaledb_information.chunks c USING (chunk_schema, chunk_name)
ORDER BY 1, 4
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One partition or chunk.

    Args:
        relation: the public table or view that shows it, such as `cpu_1m`.
        tier: `raw`, `1m` or `1h`.
        name: of the piece itself, as SQL has it.
        begin: its first moment.
        end: the first moment after it.
        heap_bytes: of the rows.
        index_bytes: of its indexes.
        toast_bytes: of long values, and of maps of free space.
        rows: by the statistics; counted where there are none.
        compressed: whether it is in columnstore.
    """

    relation: str
    tier: str
    name: str
    begin: datetime
    end: datetime
    heap_bytes: int
    index_bytes: int
    toast_bytes: int
    rows: int
    compressed: bool

    @property
    def total_bytes(self) -> int:
        """Heap, indexes and TOAST together."""
        return self.heap_bytes + self.index_bytes + self.toast_bytes


def relations() -> list[tuple[str, str]]:
    """List (public name, tier) of everything that retention applies to."""
    return [(table, retention.RAW) for table in catalog.TABLES] + [
        (f"{table}_{tier.name}", tier.name) for table in catalog.TABLES for tier in TIERS
    ]


async def find(connection: Connection) -> list[Chunk]:
    """Return all chunks, by relation and time."""
    engine = await engines.of(connection)
    statement = CHUNKS if engine.name == "timescale" else PARTITIONS
    names, tiers = (list(column) for column in zip(*relations(), strict=True))
    found: list[Chunk] = []
    for row in await connection.fetch(statement, names, tiers):
        values = dict(row)
        if values["rows"] <= 0 and (values["heap_bytes"] > 0 or values["compressed"]):
            count = f"SELECT count(*) FROM {row['name']}"  # noqa: S608 - quoted by format %I
            values["rows"] = await connection.fetchval(count)
        found.append(Chunk(**{**values, "rows": max(values["rows"], 0)}))
    return found
