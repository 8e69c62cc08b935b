"""How many bytes a stored value takes, on readings of this machine.

    python -m bench.storage [--ticks 600] [--servers 20] [--dsn postgresql://...]

Records real readings of this machine, a tick a second, the first half idle and the second half
under load (a busy core, writes to a disk), then stores them as ticks of ten seconds for several
servers, each beginning at another place of the recording. Counts every value that is not NULL, and
all bytes of tables, indexes and TOAST. On TimescaleDB (give its DSN) before and after compression;
without a DSN on the embedded PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from agent import collectors
from bench.databases import embedded
from collector_gateway import rows
from hostpulse.v1 import telemetry_pb2 as pb
from migrations import run
from storage import catalog, database, engines

TICK = timedelta(seconds=10)
LOAD = """
import os, tempfile, time
end = time.monotonic() + float({seconds})
with tempfile.TemporaryFile() as file:
    while time.monotonic() < end:
        sum(i * i for i in range(200_000))
        file.seek(0)
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
"""
SIZES = {
    "postgres": "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{0}')",
    "timescale": "SELECT hypertable_size('{0}')",
}


def record(ticks: int) -> list[pb.MetricBatch]:
    """Read this machine once a second, under load in the second half."""
    readers = collectors.build(collectors.CollectorSettings())
    recorded: list[pb.MetricBatch] = []
    load: subprocess.Popen[bytes] | None = None
    for number in range(ticks + 1):
        due = time.monotonic() + 1.0
        if number == ticks // 2:
            seconds = ticks - number + 1
            load = subprocess.Popen([sys.executable, "-c", LOAD.format(seconds=seconds)])
        batch = pb.MetricBatch()
        for reader in readers:
            name = pb.Family.Name(reader.family).removeprefix("FAMILY_").lower()
            samples = reader.collect()
            if pb.MetricBatch.DESCRIPTOR.fields_by_name[name].is_repeated:
                getattr(batch, name).extend(samples)
            elif samples:
                getattr(batch, name).CopyFrom(samples[0])
        if number:  # the first reading has no rates
            recorded.append(batch)
        time.sleep(max(0.0, due - time.monotonic()))
    if load is not None:
        load.wait(timeout=30)
    return recorded


async def store(
    connection: database.Connection, recorded: list[pb.MetricBatch], *, servers: int
) -> dict[str, int]:
    """Store the recording for each server; return how many values went into each table."""
    begin = datetime.now(UTC) - timedelta(hours=30) - TICK * len(recorded)
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
    values = await store(connection, recorded, servers=options.servers)
    await report(connection, engine.name, values, "as written")
    if engine.name == "timescale":
        for table in catalog.TABLES:
            await connection.execute(f"SELECT compress_chunk(c) FROM show_chunks('{table}') c")
        await report(connection, engine.name, values, "compressed")
    await connection.close()


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
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--dsn", help="an empty database to use instead of the embedded one")
    options = parser.parse_args()
    recorded = record(options.ticks)
    if options.dsn:
        asyncio.run(database.create_if_missing(options.dsn))
        run.upgrade(options.dsn)
        asyncio.run(measure(options.dsn, options, recorded))
        return
    with embedded() as dsn:
        asyncio.run(measure(dsn, options, recorded))


if __name__ == "__main__":
    main()
