"""How long the questions of a dashboard take, over N servers with their history.

    python -m bench.query [--servers 1000] [--runs 30] [--dsn DSN] [--keep DIRECTORY]

Fills an embedded PostgreSQL (or the empty database that `--dsn` names): of `cpu` 7 days of raw
samples, 10 s apart, 8 cores, and 30 days of minutes and hours. Those of the last hours are made by
the engine, the others are written directly: random values beside random values, for making them
all would take longer than everything else. Of the other tables there is what the questions read:
raw samples of the last hours, minutes of a day. With `--keep`, or a database that is filled
already, only the questions are asked.

Each is asked of another server every time, through the code that answers the API, or in SQL where
it is about all. Prints p50 and p95, and plans of what is slower than it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.databases import free_port, wait_for
from migrations import run
from storage import catalog, database, engines, reading
from storage.embedded import EmbeddedPostgres
from storage.engines import partitions, postgres, rollup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

INTERVAL_S = 10
CORES = 8
RAW_DAYS = 7
DAYS = 30
ROLLED_UP = timedelta(hours=3)  # by the engine, from raw samples that all tables have
OTHER_DAYS = timedelta(hours=26)
SERIES = {
    "disk_usage": (
        ("mount", "device", "fstype"),
        [("/", "/dev/sda1", "ext4"), ("/data", "/dev/sdb", "xfs")],
    ),
    "disk_io": (("device",), [("sda",), ("sdb",)]),
    "network": (("interface",), [("eth0",), ("eth1",)]),
    "process": (("pid", "name", "username"), [(n, f"app{n}", "www") for n in range(10)]),
    "custom": (("name", "labels"), [("queue", "{}")]),
}
MUST_MS = 500.0
ONE_MS, ALL_MS = 30.0, 150.0

FLEET_AVERAGE = """
SELECT c.time, sum(c.usage_percent * c.sample_count) / sum(c.sample_count)
FROM server s CROSS JOIN LATERAL (
  SELECT time, usage_percent, sample_count FROM cpu_1h
  WHERE server_id = s.id AND time >= now() - interval '24 hours' OFFSET 0
) c GROUP BY 1 ORDER BY 1
"""
TOP_CPU = """
SELECT s.name, c.usage
FROM server s CROSS JOIN LATERAL (
  SELECT sum(usage_percent * sample_count) / sum(sample_count) AS usage FROM cpu_1m
  WHERE server_id = s.id AND time >= now() - interval '1 hour'
) c ORDER BY 2 DESC NULLS LAST LIMIT 10
"""
LAST_VALUES = """
SELECT s.name, c.time, c.usage_percent, c.load1
FROM server s CROSS JOIN LATERAL (
  SELECT time, usage_percent, load1 FROM cpu
  WHERE server_id = s.id AND time >= now() - interval '1 hour' ORDER BY time DESC LIMIT 1
) c
"""


class Recorder:
    """A connection that remembers what it was last asked, to be explained."""

    def __init__(self, connection: database.Connection) -> None:
        self.connection = connection
        self.asked: list[tuple[str, tuple[object, ...]]] = []

    async def fetch(self, statement: str, *arguments: object) -> list:
        self.asked.append((statement, arguments))
        return await self.connection.fetch(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: object) -> object:
        return await self.connection.fetchval(statement, *arguments)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    name: str
    aim_ms: float
    ask: Callable[[Recorder, int], Awaitable[object]]


# -- filling -------------------------------------------------------------------------------------


def random_value(column: catalog.Column) -> str:
    match column.sql_type:
        case "real[]":
            return f"ARRAY[{', '.join(['random() * 100'] * CORES)}]::real[]"
        case "bigint":
            return "(random() * 1e10)::bigint"
        case _:
            return "random() * 100"


def labels_of(table: catalog.Table) -> tuple[str, str]:
    """Return the label columns, and a FROM item that has a row for each series."""
    if table.name not in SERIES:
        return "", ""
    names, rows = SERIES[table.name]
    values = ", ".join("(" + ", ".join(repr(each) for each in row) + ")" for row in rows)
    return ", ".join(names) + ", ", f" CROSS JOIN (VALUES {values}) l ({', '.join(names)})"


def typed(labels: str) -> str:
    return labels.replace("labels, ", "labels::jsonb, ")


async def fill_raw(connection, table: catalog.Table, begin: datetime, end: datetime) -> None:
    """Insert samples in the order of time, a day at a time."""
    labels, series = labels_of(table)
    columns = ", ".join(c.name for c in table.values)
    values = ", ".join(random_value(c) for c in table.values)
    while begin < end:
        until = min(begin + timedelta(days=1), end)
        await connection.execute(
            f"INSERT INTO {table.name} (time, server_id, {labels}{columns})"
            f" SELECT t, s, {typed(labels)}{values}"
            f" FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 ms',"
            f" interval '{INTERVAL_S} s') t"
            f" CROSS JOIN generate_series(1, (SELECT count(*) FROM server)) s{series}",
            begin,
            until,
        )
        begin = until


async def fill_rollup(
    connection, target: str, table: catalog.Table, tier: rollup.Tier, begin, end
) -> None:
    """Insert rollups where there are no raw samples to make them from."""
    definition = rollup.of(
        table.name, [(c.name, c.sql_type) for c in (*table.labels, *table.values)]
    )
    _, series = labels_of(table)
    groups = {group.name for group in definition.groups} | set(definition.described)
    kinds = {c.name: c for c in table.values}
    values = []
    for output in definition.outputs[1:]:
        base = kinds.get(output.name.removesuffix("_min").removesuffix("_max"))
        if output.name in groups:
            values.append(f"l.{output.name}" + ("::jsonb" if output.name == "labels" else ""))
        elif base is None:  # counts
            values.append(f"{int(tier.width.total_seconds()) // INTERVAL_S}")
        else:
            values.append(random_value(base))
    while begin < end:
        until = min(begin + timedelta(days=1), end)
        await connection.execute(
            f"INSERT INTO {target} ({', '.join(definition.columns)})"
            f" SELECT t, s, {', '.join(values)}"
            f" FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 ms',"
            f" {tier.interval}) t"
            f" CROSS JOIN generate_series(1, (SELECT count(*) FROM server)) s{series}",
            begin,
            until,
        )
        begin = until


async def fill(connection, servers: int) -> None:
    now = datetime.now(UTC)
    today = now.replace(minute=0, second=0, microsecond=0)
    engine = await engines.of(connection)
    plain = engine.name == "postgres"
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status)"
        " SELECT 'server-' || n, false, 'online' FROM generate_series(1, $1::int) n",
        servers,
    )
    if plain:
        await engine.maintain(connection, now)
        await make_room(connection, now)
    else:
        await connection.execute(  # nothing but the questions may run
            "SELECT alter_job(job_id, scheduled => false)"
            " FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
    for table in catalog.TABLES.values():
        started = time.monotonic()
        whole = table is catalog.CPU
        # Raw samples end with the future: the questions' last minutes must not be empty.
        made_from = today - ROLLED_UP
        raw = today - timedelta(days=RAW_DAYS) + timedelta(hours=2) if whole else made_from
        await fill_raw(connection, table, raw, now + timedelta(minutes=10))
        for tier in rollup.TIERS:
            oldest = today - (timedelta(days=DAYS) if whole else OTHER_DAYS)
            kind = "rollup" if plain else "archive"
            target = f"{rollup.INTERNAL}.{table.name}_{tier.name}_{kind}"
            await fill_rollup(connection, target, table, tier, oldest, made_from)
        if plain:
            await connection.execute(
                f"UPDATE {rollup.INTERNAL}.rollup_state SET watermark = $1 WHERE name IN ($2, $3)",
                made_from,
                f"{table.name}_1m",
                f"{table.name}_1h",
            )
        else:
            await finish_hypertable(connection, table, made_from)
        print(f"  {table.name:14} {time.monotonic() - started:6.1f} s", flush=True)
    started = time.monotonic()
    await engine.roll_up(connection)
    print(f"  {'rollups':14} {time.monotonic() - started:6.1f} s", flush=True)
    await connection.execute("VACUUM (ANALYZE)")


async def make_room(connection, now: datetime) -> None:
    """Make the partitions that a month of rollups needs."""
    for name in catalog.TABLES:
        for tier in rollup.TIERS:
            target = f"{name}_{tier.name}_rollup"
            room = partitions.Partitioned(
                parent=f"{rollup.INTERNAL}.{target}",
                name=target,
                period=postgres.PERIODS[tier.name],
                back=timedelta(days=DAYS + 1),
                ahead=timedelta(days=1),
                retention=timedelta(days=2 * DAYS),
            )
            await partitions.maintain(connection, room, now)


async def finish_hypertable(connection, table: catalog.Table, begin: datetime) -> None:
    """Do what TimescaleDB's policies would have done."""
    for tier, delay in zip(rollup.TIERS, (timedelta(minutes=2), timedelta(hours=2)), strict=True):
        view = f"{rollup.INTERNAL}.{table.name}_{tier.name}_rollup"
        window = f"'{begin.isoformat()}', '{(datetime.now(UTC) - delay).isoformat()}'"
        await connection.execute(f"CALL refresh_continuous_aggregate('{view}', {window})")
    await connection.execute(
        f"SELECT compress_chunk(c) FROM show_chunks('{table.name}',"
        " older_than => INTERVAL '26 hours') c"
    )


# -- asking --------------------------------------------------------------------------------------


def series(
    metric: str, back: timedelta, step_s: int | None
) -> Callable[[Recorder, int], Awaitable[object]]:
    async def ask(connection: Recorder, server_id: int) -> object:
        now = datetime.now(UTC)
        query = reading.Query(
            metric=catalog.find_metric(metric),
            server_id=server_id,
            start=now - back,
            end=now,
            step_s=step_s,
        )
        answer = await reading.read(connection, query, now=now)  # type: ignore[arg-type]
        assert answer.series
        return answer

    return ask


async def all_panels(connection: Recorder, server_id: int) -> None:
    """Read every column of every table, one statement a table, at 5 minutes."""
    for table in catalog.TABLES.values():
        weight = "ticks_seen" if table is catalog.PROCESS else "sample_count"
        names = [
            c.name
            for c in table.values
            if c.sql_type != "real[]" and c.name not in {"cpu_rank", "memory_rank"}
        ]
        averages = ", ".join(
            f"sum(t.{n}::float8 * t.{weight}::float8)"
            f" / sum(t.{weight}::float8) FILTER (WHERE t.{n} IS NOT NULL) AS {n}"
            for n in names
        )
        labels = ", ".join(f"t.{n}" for n in table.series if n != "pid")
        groups = f", {labels}" if labels else ""
        rows = await connection.fetch(
            f"SELECT date_bin('300 s', t.time, TIMESTAMPTZ 'epoch') AS time{groups}, {averages}"
            f" FROM {table.name}_1m t WHERE t.server_id = $1 AND t.time >= $2"
            f" GROUP BY 1{groups} ORDER BY 1",
            server_id,
            datetime.now(UTC) - timedelta(hours=24),
        )
        assert rows, table.name


def fleet(statement: str) -> Callable[[Recorder, int], Awaitable[object]]:
    async def ask(connection: Recorder, server_id: int) -> object:
        del server_id
        return await connection.fetch(statement)

    return ask


DAY = timedelta(days=1)
QUESTIONS = (
    Question(
        name="one server, 24 h, one metric, 5 min",
        aim_ms=ONE_MS,
        ask=series("cpu.usage_percent", DAY, 300),
    ),
    Question(
        name="one server, 24 h, one metric, 1 min",
        aim_ms=ONE_MS,
        ask=series("cpu.usage_percent", DAY, 60),
    ),
    Question(
        name="one server, 24 h, one metric, raw",
        aim_ms=ONE_MS,
        ask=series("cpu.usage_percent", DAY, None),
    ),
    Question(
        name="one server, 24 h, every core, 5 min", aim_ms=ONE_MS, ask=series("cpu.cores", DAY, 300)
    ),
    Question(name="one server, 24 h, all panels, 5 min", aim_ms=ONE_MS * 10, ask=all_panels),
    Question(
        name="one server, 30 days, 1 h",
        aim_ms=ONE_MS,
        ask=series("cpu.usage_percent", DAYS * DAY, 3600),
    ),
    Question(name="fleet average, 24 h, 1 h", aim_ms=ALL_MS, ask=fleet(FLEET_AVERAGE)),
    Question(name="top 10 servers by CPU, last hour", aim_ms=ALL_MS, ask=fleet(TOP_CPU)),
    Question(name="last value of every server", aim_ms=ALL_MS, ask=fleet(LAST_VALUES)),
)


async def measure(connection, question: Question, *, runs: int, servers: int) -> list[float]:
    chance = random.Random(1)
    taken = []
    recorder = Recorder(connection)
    for number in range(runs + 5):
        server_id = chance.randint(1, servers)
        recorder.asked.clear()
        started = time.perf_counter()
        await question.ask(recorder, server_id)
        if number >= 5:  # the first ones plan, and fill the caches
            taken.append((time.perf_counter() - started) * 1000)
    if statistics.quantiles(taken, n=20)[18] > question.aim_ms:
        for statement, arguments in recorder.asked:
            plan = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *arguments)
            print(f"\n-- {question.name}:\n{statement.strip()}")
            print("\n".join(f"   {row[0]}" for row in plan), flush=True)
    return sorted(taken)


async def ask_all(connection, runs: int) -> None:
    servers = await connection.fetchval("SELECT count(*) FROM server")
    engine = await engines.of(connection)
    size = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    lines = []
    for question in QUESTIONS:
        taken = await measure(connection, question, runs=runs, servers=servers)
        p50, p95 = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
        verdict = "ok" if p95 <= question.aim_ms else "slow" if p95 <= MUST_MS else "TOO SLOW"
        lines.append(
            f"{question.name:38} {p50:8.1f} {p95:8.1f} {taken[-1]:8.1f}"
            f" {question.aim_ms:6.0f}  {verdict}"
        )
    print(f"\nengine {engine.name}, {servers} servers, {size}, {runs} runs\n")
    print(f"{'question':38} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8} {'aim':>6}")
    print("\n".join(lines))


async def work(dsn: str, options: argparse.Namespace) -> None:
    await asyncio.to_thread(wait_for, dsn)
    await asyncio.to_thread(run.upgrade, dsn)
    connection = await database.connect(dsn, "bench", statement_timeout_s=1800)
    try:
        if not await connection.fetchval("SELECT count(*) FROM server"):
            await fill(connection, options.servers)
        elif (engine := await engines.of(connection)).name == "postgres":
            await engine.roll_up(connection)
        await ask_all(connection, options.runs)
    finally:
        await connection.close()


async def embedded(options: argparse.Namespace, root: Path) -> None:
    server = EmbeddedPostgres(root / "data", port=free_port())
    server.prepare()
    process = subprocess.Popen(server.command(), **server.process_options())  # type: ignore[call-overload]
    try:
        await work(server.url, options)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--dsn", help="a database to fill and ask, instead of an embedded one")
    parser.add_argument("--keep", type=Path, help="where the embedded database stays")
    options = parser.parse_args()
    if options.dsn:
        asyncio.run(work(options.dsn, options))
        return
    root = options.keep or Path(tempfile.mkdtemp(prefix="hostpulse-bench-"))
    root.mkdir(exist_ok=True)
    root.chmod(0o711)
    try:
        asyncio.run(embedded(options, root))
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
