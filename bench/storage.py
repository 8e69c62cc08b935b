"""How many bytes a stored value takes, on readings of this machine.

    python -m bench.storage [--recording FILE] [--servers 30] [--columns] [--dsn postgresql://...]

Records real readings of this machine (once: with `--recording` they are kept), the first half as
it is and the second half under load (busy cores, writes to a disk). Each reading spans ten seconds,
as an agent's do: twenty sets of collectors take turns every half second, each keeps what it saw ten
seconds before, and each makes a series of its own. Put one after the other these are 1 440 ticks,
four hours: what a chunk has of a server. They are stored for several servers, each beginning at
another place. Counts every value that is not NULL, and all bytes of tables, indexes and TOAST. On
TimescaleDB (give its DSN) before and after compression; without a DSN on the embedded PostgreSQL.
`--columns` says what each column of the compressed chunks takes.

At last minutes and hours are made of them, and it says what a server takes for as long as each tier
is kept, were it always like these four hours.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import collectors
from bench.databases import embedded
from collector_gateway import rows
from hostpulse.v1 import telemetry_pb2 as pb
from migrations import run
from storage import catalog, chunks, database, engines, retention
from storage.engines import rollup, timescale

TICK = timedelta(seconds=10)
TICKS = 1440  # of a server in a chunk of four hours
DAY = timedelta(days=1)
SETS = 20  # of collectors, that take turns within ten seconds
LOAD = """
import os, random, tempfile, time
end = time.monotonic() + float({seconds})
with tempfile.TemporaryFile() as file:
    while time.monotonic() < end:
        for _ in range(random.randint(1, 60)):
            sum(i * i for i in range(200_000))
            file.seek(0)
            file.write(os.urandom(random.randint(1, 1 << 20)))
            file.flush()
            os.fsync(file.fileno())
        time.sleep(random.expovariate(1))
"""
COLUMNS_SHOWN = 40
COMPRESSED_CHUNKS = """
SELECT c.hypertable_name AS relation, s.compress_relid::regclass::text AS name
FROM _timescaledb_catalog.compression_settings s
JOIN timescaledb_information.chunks c
  ON format('%I.%I', c.chunk_schema, c.chunk_name)::regclass = s.relid
WHERE s.compress_relid IS NOT NULL AND c.hypertable_name = ANY($1)
"""
COLUMNS = """
SELECT quote_ident(attname) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
SIZES = {
    "postgres": "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{0}')",
    "timescale": "SELECT hypertable_size('{0}')",
}


def record() -> list[pb.MetricBatch]:
    """Read this machine for twelve minutes, under load in the second half."""
    sets = [collectors.build(collectors.CollectorSettings()) for _ in range(SETS)]
    recorded: list[list[pb.MetricBatch]] = [[] for _ in sets]
    begin = time.monotonic()
    load: subprocess.Popen[bytes] | None = None
    for number in range(TICKS + SETS):
        due = begin + number * TICK.total_seconds() / SETS
        time.sleep(max(0.0, due - time.monotonic()))
        if number == TICKS // 2:
            seconds = (TICKS // 2 + SETS) * TICK.total_seconds() / SETS
            load = subprocess.Popen([sys.executable, "-c", LOAD.format(seconds=seconds)])
        batch = read(sets[number % SETS])
        if number >= SETS:  # the first reading has no rates
            recorded[number % SETS].append(batch)
    if load is not None:
        load.wait(timeout=120)
    return [batch for series in recorded for batch in series]


def read(readers: tuple[collectors.Collector, ...]) -> pb.MetricBatch:
    """Read every family once."""
    batch = pb.MetricBatch()
    for reader in readers:
        name = pb.Family.Name(reader.family).removeprefix("FAMILY_").lower()
        samples = reader.collect()
        if pb.MetricBatch.DESCRIPTOR.fields_by_name[name].is_repeated:
            getattr(batch, name).extend(samples)
        elif samples:
            getattr(batch, name).CopyFrom(samples[0])
    return batch


def load(file: Path) -> list[pb.MetricBatch]:
    """Read a recording: one batch a line, in base 64."""
    return [pb.MetricBatch.FromString(base64.b64decode(line)) for line in file.open("rb")]


def save(file: Path, recorded: list[pb.MetricBatch]) -> None:
    """Keep a recording."""
    with file.open("wb") as target:
        target.writelines(base64.b64encode(b.SerializeToString()) + b"\n" for b in recorded)


def beginning() -> datetime:
    """Return where the recording is put: in a chunk of its own, of a day that is over."""
    chunk = timedelta(hours=4).total_seconds()
    newest = (datetime.now(UTC) - timedelta(hours=30)).timestamp()
    return datetime.fromtimestamp(newest // chunk * chunk, UTC) - TICK * TICKS


async def store(
    connection: database.Connection,
    recorded: list[pb.MetricBatch],
    *,
    servers: int,
    begin: datetime,
) -> dict[str, int]:
    """Store the recording for each server; return how many values went into each table."""
    values = dict.fromkeys(catalog.TABLES, 0)
    for server_id in range(1, servers + 1):
        shift = server_id * len(recorded) // servers
        merged: dict[str, list[tuple[object, ...]]] = {}
        for number in range(len(recorded)):
            batch = recorded[(number + shift) % len(recorded)]
            if number % 6:
                batch = pb.MetricBatch.FromString(batch.SerializeToString())
                batch.ClearField("disk_usage")  # once a minute, as agents send it
            moment = begin + TICK * number
            for table, made in rows.decode(batch, moment, server_id).rows.items():
                merged.setdefault(table, []).extend(made)
        for table, made in merged.items():
            definition = catalog.TABLES[table]
            first = 2 + len(definition.labels)
            values[table] += sum(
                len(cell) if isinstance(cell, list) else 1
                for row in made
                for cell in row[first:]
                if cell is not None
            )
            await connection.copy_records_to_table(table, records=made, columns=definition.columns)
    return values


async def measure(dsn: str, options: argparse.Namespace, recorded: list[pb.MetricBatch]) -> None:
    """Store, and print bytes per value."""
    connection = await database.connect(dsn, "bench", statement_timeout_s=600)
    engine = await engines.of(connection)
    await engine.maintain(connection, datetime.now(UTC))
    if engine.name == "timescale":
        await connection.execute(
            "SELECT alter_job(job_id, scheduled => false)"
            " FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
    begin = beginning()
    values = await store(connection, recorded, servers=options.servers, begin=begin)
    await report(connection, engine.name, values, "as written")
    await roll_up(connection, engine, begin)
    as_rows = compressed = await bytes_a_day(connection, servers=options.servers)
    if engine.name == "timescale":
        for table in catalog.TABLES:
            await compress(connection, table)
        await report(connection, engine.name, values, "compressed")
        if options.columns:
            await report_columns(connection)
        for name in rollups():
            await compress(connection, name)
        compressed = await bytes_a_day(connection, servers=options.servers)
    report_tiers(engine.name, as_rows, compressed)
    await connection.close()


def rollups() -> list[str]:
    """Name what minutes and hours are kept in."""
    return [
        f"{rollup.INTERNAL}.{table}_{tier.name}_rollup"
        for table in catalog.TABLES
        for tier in rollup.TIERS
    ]


async def roll_up(connection: database.Connection, engine: engines.Engine, begin: datetime) -> None:
    """Make minutes and hours."""
    if engine.name == "timescale":
        until = begin + TICK * TICKS
        for name in rollups():
            await connection.execute(
                f"CALL refresh_continuous_aggregate('{name}',"
                f" '{begin.isoformat()}', '{until.isoformat()}')"
            )
        return
    await connection.execute(f"UPDATE {rollup.INTERNAL}.rollup_state SET watermark = $1", begin)
    await engine.roll_up(connection)


async def compress(connection: database.Connection, relation: str) -> None:
    """Compress all chunks of a hypertable or continuous aggregate."""
    await connection.execute(f"SELECT compress_chunk(c) FROM show_chunks('{relation}') c")


async def bytes_a_day(connection: database.Connection, *, servers: int) -> dict[str, float]:
    """Return what a server takes in a day, by tier; pieces that are empty do not count."""
    await connection.execute("ANALYZE")
    days = TICK * TICKS / DAY
    taken = dict.fromkeys(retention.Retention().tiers, 0.0)
    for chunk in await chunks.find(connection):
        if chunk.rows:
            taken[chunk.tier] += chunk.total_bytes / servers / days
    return taken


def report_tiers(engine: str, as_rows: dict[str, float], compressed: dict[str, float]) -> None:
    """Print what a server takes, with what is compressed after so long.

    Of minutes and hours that is too much: four hours of them fill no chunk, and compress badly.
    """
    after = {retention.RAW: timescale.RAW_COMPRESS_AFTER, **timescale.COMPRESS_AFTER}
    print(f"\n{engine}, a server\n  {'tier':6} {'MB a day':>10} {'compressed':>10} {'kept':>8}")
    total = 0.0
    for tier, kept in retention.Retention().tiers.items():
        rows = min(after[tier], kept) / DAY
        best = min(as_rows[tier], compressed[tier])
        taken = as_rows[tier] * rows + best * (kept / DAY - rows)
        total += taken
        print(
            f"  {tier:6} {as_rows[tier] / 1e6:10.2f} {compressed[tier] / 1e6:10.2f}"
            f" {kept / DAY:6.0f} d {taken / 1e6:8.1f} MB"
        )
    print(f"  all {' ' * 33} {total / 1e6:8.1f} MB")


async def report_columns(connection: database.Connection) -> None:
    """Print what each column of the compressed chunks takes, the dearest first."""
    lines: list[tuple[int, str]] = []
    for chunk in await connection.fetch(COMPRESSED_CHUNKS, list(catalog.TABLES)):
        names = [row[0] for row in await connection.fetch(COLUMNS, chunk["name"])]
        sizes = ", ".join(f"coalesce(sum(pg_column_size(c.{name})), 0)" for name in names)
        row = await connection.fetchrow(f"SELECT {sizes} FROM {chunk['name']} c")
        assert row is not None
        lines += [
            (size, f"{chunk['relation']}.{name}") for name, size in zip(names, row, strict=True)
        ]
    total = sum(size for size, _ in lines)
    print("\ncompressed, by column")
    for size, name in sorted(lines, reverse=True)[:COLUMNS_SHOWN]:
        print(f"  {name:36} {size / 1e6:8.3f} MB {size / total:6.1%}")


async def report(
    connection: database.Connection, engine: str, values: dict[str, int], state: str
) -> None:
    """Print a table."""
    print(f"\n{engine}, {state}")
    total = 0
    for table, count in values.items():
        size = int(await connection.fetchval(SIZES[engine].format(table)) or 0)
        if count:
            total += size
            print(
                f"  {table:14} {count:10} values {size / 1e6:9.2f} MB {size / count:7.2f} B/value"
            )
    count = sum(values.values())
    print(f"  {'all':14} {count:10} values {total / 1e6:9.2f} MB {total / count:7.2f} B/value")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, help="where readings are kept, or taken from")
    parser.add_argument("--servers", type=int, default=30)
    parser.add_argument("--columns", action="store_true", help="list compressed columns by size")
    parser.add_argument("--dsn", help="an empty database to use instead of the embedded one")
    options = parser.parse_args()
    if options.recording and options.recording.exists():
        recorded = load(options.recording)
    else:
        recorded = record()
    if options.recording:
        save(options.recording, recorded)
    if options.dsn:
        asyncio.run(database.create_if_missing(options.dsn))
        run.upgrade(options.dsn)
        asyncio.run(measure(options.dsn, options, recorded))
        return
    with embedded() as dsn:
        asyncio.run(measure(dsn, options, recorded))


if __name__ == "__main__":
    main()
