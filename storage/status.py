"""What there is to say about a database: engine, sizes, policies, lag, and what is due to go.

Sizes come from the chunks of both engines (chunks.py). A value is a reading that is not NULL, each
element of an array one; how many a row has is measured on up to SAMPLE_ROWS rows of each table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import catalog, chunks, engines, policies, retention
from storage.engines import rolling, rollup, timescale
from storage.engines.rollup import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.chunks import Chunk
    from storage.database import Connection
    from storage.policies import Policy
    from storage.retention import Retention

SAMPLE_ROWS = 1000

SOFTWARE = """
SELECT current_setting('server_version') AS server_version,
  current_setting('timescaledb.license', true) AS license,
  (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS installed,
  (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
  current_setting('shared_preload_libraries') ~ '(^|[,/])\\s*timescaledb' AS loaded
"""

COMPRESSION = f"""
SELECT h.relation, s.before_compression_total_bytes AS before,
       s.after_compression_total_bytes AS after
FROM ({chunks.HYPERTABLES}) h
CROSS JOIN LATERAL hypertable_compression_stats(format('%I.%I', h.schema, h.name)::regclass) s
WHERE s.after_compression_total_bytes > 0
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a table takes in one tier.

    Args:
        relation: the public table or view, such as `cpu_1m`.
        tier: `raw`, `1m` or `1h`.
        chunks: partitions or chunks.
        rows: by the statistics.
        heap_bytes: of the rows.
        index_bytes: of the indexes.
        toast_bytes: of long values and of maps of free space.
        archive_bytes: of what was imported from another database, all together.
        values_per_row: measured on a sample; None where there are no rows.
        compression_ratio: before to after, of what is compressed; None where nothing is.
        begin: of the oldest chunk.
    """

    relation: str
    tier: str
    chunks: int
    rows: int
    heap_bytes: int
    index_bytes: int
    toast_bytes: int
    archive_bytes: int
    values_per_row: float | None
    compression_ratio: float | None
    begin: datetime | None

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.heap_bytes + self.index_bytes + self.toast_bytes + self.archive_bytes

    @property
    def bytes_per_value(self) -> float | None:
        """An estimate, without the archive; None where there is nothing to measure."""
        values = self.rows * (self.values_per_row or 0)
        return (self.total_bytes - self.archive_bytes) / values if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The next that retention drops of one relation."""

    relation: str
    tier: str
    name: str
    begin: datetime
    end: datetime
    total_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What the database runs on.

    Args:
        engine: that the database was made with.
        server_version: of PostgreSQL.
        edition: `plain PostgreSQL`, `TimescaleDB Apache` or `TimescaleDB Community`.
        timescaledb_version: of the extension; None where it is not there.
        offers: the engine that this server could have, if it is not the one in use.
    """

    engine: str
    server_version: str
    edition: str
    timescaledb_version: str | None
    offers: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it."""

    software: Software
    retention: Retention
    sizes: Sequence[Size]
    policies: Sequence[Policy]
    rollup_lag_s: float | None
    due: Sequence[Due]


async def collect(connection: Connection, *, now: datetime | None = None) -> Status:
    """Look at a migrated database."""
    moment = now or datetime.now(UTC)
    engine = await engines.of(connection)
    kept = await retention.read(connection)
    found = await chunks.find(connection)
    on_timescale = engine.name == "timescale"
    return Status(
        software=await software(connection),
        retention=kept,
        sizes=await _sizes(connection, found, on_timescale=on_timescale),
        policies=await policies.find(connection, engine),
        rollup_lag_s=await engine.rollup_lag_s(connection),
        due=due(found, kept, now=moment),
    )


def due(found: Sequence[Chunk], kept: Retention, *, now: datetime) -> list[Due]:
    """Return the next chunk to go of each relation, the first to go first."""
    oldest: dict[str, Chunk] = {}
    for chunk in found:
        known = oldest.get(chunk.relation)
        if known is None or chunk.end < known.end:
            oldest[chunk.relation] = chunk
    return sorted(
        (
            Due(
                relation=chunk.relation,
                tier=chunk.tier,
                name=chunk.name,
                begin=chunk.begin,
                end=chunk.end,
                total_bytes=chunk.total_bytes,
                at=max(now, chunk.end + kept.tiers[chunk.tier]),
            )
            for chunk in oldest.values()
        ),
        key=lambda each: (each.at, each.relation),
    )


async def software(connection: Connection) -> Software:
    """Say what the database runs on."""
    engine = await engines.of(connection)
    row = await connection.fetchrow(SOFTWARE)
    assert row is not None  # noqa: S101 - a select without FROM has one row
    editions = {"timescale": "TimescaleDB Community", "apache": "TimescaleDB Apache"}
    could = (
        engine.name != "timescale"
        and row["loaded"]
        and row["license"] in {"timescale", None}
        and timescale.is_recent(row["available"] or "0")
    )
    return Software(
        engine=engine.name,
        server_version=row["server_version"].split()[0],
        edition=editions.get(row["license"] if row["installed"] else "", "plain PostgreSQL"),
        timescaledb_version=row["installed"],
        offers="timescale" if could else None,
    )


async def _sizes(
    connection: Connection, found: Sequence[Chunk], *, on_timescale: bool
) -> list[Size]:
    """Add up chunks by relation."""
    names, tiers = (list(column) for column in zip(*chunks.relations(), strict=True))
    compression = (
        {
            row["relation"]: row["before"] / row["after"]
            for row in await connection.fetch(COMPRESSION, names, tiers)
        }
        if on_timescale
        else {}
    )
    sizes: list[Size] = []
    for relation, tier in chunks.relations():
        own = [chunk for chunk in found if chunk.relation == relation]
        sizes.append(
            Size(
                relation=relation,
                tier=tier,
                chunks=len(own),
                rows=sum(chunk.rows for chunk in own),
                heap_bytes=sum(chunk.heap_bytes for chunk in own),
                index_bytes=sum(chunk.index_bytes for chunk in own),
                toast_bytes=sum(chunk.toast_bytes for chunk in own),
                archive_bytes=await _archive_bytes(connection, relation, tier),
                values_per_row=await _values_per_row(connection, relation, tier, own),
                compression_ratio=compression.get(relation),
                begin=min((chunk.begin for chunk in own), default=None),
            )
        )
    return sizes


async def _archive_bytes(connection: Connection, relation: str, tier: str) -> int:
    """Return the size of imported history, which only rollups have; empty is nothing."""
    if tier == retention.RAW:
        return 0
    archive = f"{INTERNAL}.{relation}_archive"
    return await connection.fetchval(
        "SELECT CASE WHEN pg_relation_size($1::text::regclass) > 0"
        " THEN pg_total_relation_size($1::text::regclass) ELSE 0 END",
        archive,
    )


async def _values_per_row(
    connection: Connection, relation: str, tier: str, own: Sequence[Chunk]
) -> float | None:
    """Measure how many values a row has, on the chunk with most rows."""
    if not any(chunk.rows for chunk in own):
        return None
    fullest = max(own, key=lambda chunk: chunk.rows)
    columns = _value_columns(relation, tier)
    counts = " + ".join(
        f"coalesce(cardinality(array_remove({name}, NULL)), 0)"
        if kind == "real[]"
        else f"num_nonnulls({name})"
        for name, kind in columns
    )
    return await connection.fetchval(
        f"SELECT avg({counts})::float8"  # noqa: S608 - names of the catalog and of chunks
        f" FROM (SELECT * FROM {fullest.name} LIMIT {SAMPLE_ROWS}) sample"
    )


def _value_columns(relation: str, tier: str) -> list[tuple[str, str]]:
    """Return the value columns of a relation and their types."""
    table = catalog.TABLES[relation.removesuffix(f"_{tier}")]
    if tier == retention.RAW:
        return [(column.name, column.sql_type) for column in table.values]
    (definition,) = (each for each in rolling.ROLLUPS if each.table == table.name)
    return _rolled_up(definition)


def _rolled_up(definition: rollup.Rollup) -> list[tuple[str, str]]:
    """Return average, minimum and maximum of each value."""
    return [
        (name + suffix, kind) for name, kind in definition.values for suffix in ("", "_min", "_max")
    ]
