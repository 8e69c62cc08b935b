"""How long the questions of a dashboard take, over N servers with their history.

    python -m bench.query [--servers 1000] [--runs 30] [--panels] [--dsn DSN] [--keep DIRECTORY]

Fills an embedded PostgreSQL (or the empty database that `--dsn` names) with what bench/history.py
describes. With `--keep`, or a database that is filled already, only the questions are asked.

With `--panels` every statement of the Grafana dashboards is asked as well.

Each is asked of another server every time, through the code that answers the API over a pool like
the gateway's, or in SQL where it is about all. At first from cold: before each of these runs the
caches of PostgreSQL and of the system are emptied, which takes root on the database's machine. The
others are asked twice, and the second time counts.
Prints p50 and the slowest, of those too, how many pages are read where none is in memory, and plans
of what is slower than it should be. A disk that gives N pages a second takes pages / N from cold:
many that are rented give so few that nothing else counts.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench import panels
from bench.databases import free_port, wait_for
from bench.history import fill, go_on
from migrations import run
from storage import catalog, database, engines, reading, tiers
from storage.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    import asyncpg

    Asked = tuple[str, tuple[object, ...]]  # a statement and its arguments

MUST_MS = 500.0
ONE_MS, ALL_MS = 30.0, 150.0
COLD_RUNS = 5
POOL_SIZE = 8  # collector_gateway/app.py, the pool for queries
FORGET = "SELECT pg_buffercache_evict_all()"
FILE_CACHE = Path("/proc/sys/vm/drop_caches")
# While filling; the questions are asked of the database as it is shipped.
IN_A_HURRY = {
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "autovacuum": "off",  # filling ends with VACUUM
}

FLEET_AVERAGE = """
SELECT time, sum(usage_percent * sample_count) / sum(sample_count)
FROM cpu_1h WHERE time >= now() - interval '24 hours' GROUP BY 1 ORDER BY 1
"""
TOP_CPU = """
SELECT s.name, c.usage
FROM server s JOIN (
  SELECT server_id, sum(usage_percent * sample_count) / sum(sample_count) AS usage FROM cpu_1m
  WHERE time >= now() - interval '1 hour' GROUP BY 1
) c ON c.server_id = s.id ORDER BY 2 DESC NULLS LAST LIMIT 10
"""
LAST_VALUES = """
SELECT s.name, c.time, c.usage_percent, c.load1
FROM server s CROSS JOIN LATERAL (
  SELECT time, usage_percent, load1 FROM cpu
  WHERE server_id = s.id AND time >= now() - interval '1 hour' ORDER BY time DESC LIMIT 1
) c
"""


class Recorded:
    """A connection that remembers what it was asked."""

    def __init__(self, connection: database.Connection, asked: list[Asked]) -> None:
        self.connection = connection
        self.asked = asked

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        self.asked.append((statement, arguments))
        return await self.connection.fetch(statement, *arguments)

    def cursor(self, statement: str, *arguments: object) -> object:
        self.asked.append((statement, arguments))
        return self.connection.cursor(statement, *arguments)

    def transaction(self, **options: object) -> object:
        return self.connection.transaction(**options)  # type: ignore[arg-type]

    async def fetchval(self, statement: str, *arguments: object) -> object:
        return await self.connection.fetchval(statement, *arguments)


@dataclasses.dataclass(frozen=True, slots=True)
class Recorder:
    """The pool that answers, and what it was last asked, to be explained."""

    pool: database.Pool
    asked: list[Asked] = dataclasses.field(default_factory=list["Asked"])

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Recorded]:
        async with self.pool.acquire() as connection:
            yield Recorded(connection, self.asked)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    name: str
    aim_ms: float
    ask: Callable[[Recorder, int], Awaitable[object]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Milliseconds, sorted; `pages` are what PostgreSQL reads with nothing in its memory."""

    cold: list[float]
    warm: list[float]
    pages: int


def series(
    metric: str, back: timedelta, step_s: int | None
) -> Callable[[Recorder, int], Awaitable[object]]:
    async def ask(recorder: Recorder, server_id: int) -> object:
        now = datetime.now(UTC)
        query = reading.Query(
            metric=catalog.find_metric(metric),
            server_id=server_id,
            start=now - back,
            end=now,
            step_s=step_s,
        )
        async with recorder.acquire() as connection:
            answer = await reading.read(connection, query, now=now)  # type: ignore[arg-type]
        assert answer.series
        return answer

    return ask


async def all_panels(recorder: Recorder, server_id: int) -> None:
    """Read every column of every table at 5 minutes: a table a request, all at once."""
    start = datetime.now(UTC) - DAY
    await asyncio.gather(
        *(read_table(recorder, table, server_id, start) for table in catalog.TABLES.values())
    )


async def read_table(
    recorder: Recorder, table: catalog.Table, server_id: int, start: datetime
) -> None:
    """Read every column of one table."""
    weight = "ticks_seen" if table is catalog.PROCESS else "sample_count"
    names = [
        c.name for c in table.values if c.sql_type != "real[]" and tiers.MINUTE.has(table, c.name)
    ]
    averages = ", ".join(
        f"sum(t.{n}::float8 * t.{weight}::float8)"
        f" / sum(t.{weight}::float8) FILTER (WHERE t.{n} IS NOT NULL) AS {n}"
        for n in names
    )
    labels = ", ".join(f"t.{n}" for n in table.series if n != "pid")
    groups = f", {labels}" if labels else ""
    async with recorder.acquire() as connection:
        rows = await connection.fetch(
            f"SELECT date_bin('300 s', t.time, TIMESTAMPTZ 'epoch') AS time{groups}, {averages}"
            f" FROM {table.name}_1m t WHERE t.server_id = $1 AND t.time >= $2"
            f" GROUP BY 1{groups} ORDER BY 1",
            server_id,
            start,
        )
    assert rows, table.name


def fleet(statement: str) -> Callable[[Recorder, int], Awaitable[object]]:
    async def ask(recorder: Recorder, server_id: int) -> object:
        del server_id
        async with recorder.acquire() as connection:
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
        ask=series("cpu.usage_percent", 30 * DAY, 3600),
    ),
    Question(name="fleet average, 24 h, 1 h", aim_ms=ALL_MS, ask=fleet(FLEET_AVERAGE)),
    Question(name="top 10 servers by CPU, last hour", aim_ms=ALL_MS, ask=fleet(TOP_CPU)),
    Question(name="last value of every server", aim_ms=ALL_MS, ask=fleet(LAST_VALUES)),
)


def may_forget() -> bool:
    """Say whether this process may empty the system's file cache."""
    return os.access(FILE_CACHE, os.W_OK)


async def forget(pool: database.Pool) -> None:
    """Empty the caches, of PostgreSQL and of the system."""
    await pool.execute(FORGET)
    os.sync()
    FILE_CACHE.write_text("3")


async def count_pages(pool: database.Pool, asked: list[Asked]) -> int:
    """Count the pages that statements read; what one has read the next finds."""
    await pool.execute(FORGET)
    pages = 0
    for statement, arguments in asked:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        (plan,) = await pool.fetchval(explain, *arguments)
        pages += plan["Plan"]["Shared Read Blocks"] + plan["Planning"]["Shared Read Blocks"]
    return pages


async def measure(pool: database.Pool, question: Question, *, runs: int, servers: int) -> Measured:
    """Ask from cold, if it can be had, and again and again."""
    chance = random.Random(1)
    recorder = Recorder(pool)

    async def ask(server_id: int) -> float:
        recorder.asked.clear()
        started = time.perf_counter()
        await question.ask(recorder, server_id)
        return (time.perf_counter() - started) * 1000

    asked = [chance.randint(1, servers) for _ in range(runs)]
    await ask(asked[0])  # connects, and fills the caches of the connections
    cold = []
    for _ in range(COLD_RUNS if may_forget() else 0):
        await forget(pool)
        cold.append(await ask(chance.randint(1, servers)))
    for server_id in asked:  # plans, and fills the caches
        await ask(server_id)
    warm = [await ask(server_id) for server_id in asked]
    if statistics.quantiles(warm, n=20)[18] > question.aim_ms:
        for statement, arguments in recorder.asked:
            plan = await pool.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *arguments)
            print(f"\n-- {question.name}:\n{statement.strip()}")
            print("\n".join(f"   {row[0]}" for row in plan), flush=True)
    return Measured(
        cold=sorted(cold), warm=sorted(warm), pages=await count_pages(pool, recorder.asked)
    )


def of_panels(engine: engines.Engine) -> list[Question]:
    """Make a question of each statement of the dashboards."""

    def ask(panel: panels.Panel) -> Callable[[Recorder, int], Awaitable[object]]:
        async def fetch(recorder: Recorder, server_id: int) -> object:
            async with recorder.acquire() as connection:
                return await connection.fetch(panel.sql(server_id, engine))

        return fetch

    return [
        Question(name=name, aim_ms=ALL_MS if panel.of_fleet else ONE_MS, ask=ask(panel))
        for name, panel in panels.panels()
    ]


async def ask_all(pool: database.Pool, runs: int, *, with_panels: bool) -> None:
    servers = await pool.fetchval("SELECT count(*) FROM server")
    async with pool.acquire() as connection:
        engine = await engines.of(connection)
    size = await pool.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    await pool.execute("CREATE EXTENSION IF NOT EXISTS pg_buffercache")
    lines = []
    for question in (*QUESTIONS, *(of_panels(engine) if with_panels else [])):
        measured = await measure(pool, question, runs=runs, servers=servers)
        cold, warm = measured.cold, measured.warm
        p95 = statistics.quantiles(warm, n=20)[18]
        verdict = "TOO SLOW" if warm[-1] > MUST_MS else "ok" if p95 <= question.aim_ms else "slow"
        if cold and cold[-1] > MUST_MS:
            verdict += ", TOO SLOW from cold"
        figures = [
            *((statistics.median(cold), cold[-1]) if cold else (float("nan"),) * 2),
            statistics.median(warm),
            p95,
            warm[-1],
        ]
        shown = " ".join(f"{figure:8.1f}" for figure in figures)
        lines.append(
            f"{question.name:60} {shown} {measured.pages:8} {question.aim_ms:6.0f}  {verdict}"
        )
    shape = f"engine {engine.name}, {servers} servers, {size}, {runs} runs"
    print(f"\n{shape}, and {COLD_RUNS} from cold\n" if may_forget() else f"\n{shape}\n")
    heads = " ".join(
        f"{head:>8}" for head in ("cold p50", "cold max", "p50 ms", "p95 ms", "max ms", "pages")
    )
    print(f"{'question':60} {heads} {'aim':>6}")
    print("\n".join(lines))


async def prepare(dsn: str, servers: int) -> None:
    """Fill the database, unless it is."""
    await asyncio.to_thread(wait_for, dsn)
    await asyncio.to_thread(run.upgrade, dsn)
    connection = await database.connect(dsn, "bench", statement_timeout_s=1800)
    try:
        if not await connection.fetchval("SELECT count(*) FROM server"):
            await fill(connection, servers)
        await go_on(connection)
    finally:
        await connection.close()


async def work(dsn: str, runs: int, *, with_panels: bool) -> None:
    await asyncio.to_thread(wait_for, dsn)
    async with database.open_pool(
        dsn, "bench", max_size=POOL_SIZE, statement_timeout_s=600
    ) as pool:
        await ask_all(pool, runs, with_panels=with_panels)


@contextmanager
def embedded(root: Path, settings: dict[str, str]) -> Generator[str]:
    """Run the embedded PostgreSQL."""
    server = EmbeddedPostgres(root / "data", port=free_port(), settings=settings)
    server.prepare()
    process = subprocess.Popen(server.command(), **server.process_options())
    try:
        yield server.url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--panels", action="store_true", help="ask what the dashboards do, too")
    parser.add_argument("--dsn", help="a database to fill and ask, instead of an embedded one")
    parser.add_argument("--fill", action="store_true", help="ask no questions")
    parser.add_argument("--keep", type=Path, help="where the embedded database stays")
    options = parser.parse_args()
    if options.dsn:
        asyncio.run(prepare(options.dsn, options.servers))
        if not options.fill:
            asyncio.run(work(options.dsn, options.runs, with_panels=options.panels))
        return
    root = options.keep or Path(tempfile.mkdtemp(prefix="hostpulse-bench-"))
    root.mkdir(exist_ok=True)
    root.chmod(0o711)
    try:
        with embedded(root, IN_A_HURRY) as dsn:
            asyncio.run(prepare(dsn, options.servers))
        if not options.fill:
            with embedded(root, {}) as dsn:
                asyncio.run(work(dsn, options.runs, with_panels=options.panels))
    finally:
        if not options.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
