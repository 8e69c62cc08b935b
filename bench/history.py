"""A month of N servers, written as quickly as the database takes it.

Of `cpu` 7 days of raw samples, 10 s apart, 8 cores, and 30 days of minutes and hours. Those of the
last hours are made by the engine, the others are written directly, in the order in which they
would have come. Of the other tables there is what a dashboard reads: raw samples of the last
hours, minutes of a day. Values are random, drawn from POOL_ROWS rows made before: drawing each of
them anew would take longer than storing it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from storage import catalog, engines
from storage.engines import postgres, rolling, rollup, timescale
from storage.engines.partitions import Period

if TYPE_CHECKING:
    from storage.database import Connection

INTERVAL = timedelta(seconds=10)
CORES = 8
RAW_DAYS = 7
DAYS = 30
AHEAD = timedelta(minutes=20)
ROLLED_UP = timedelta(hours=3)  # by the engine, from raw samples that all tables have
OTHER_DAYS = timedelta(hours=26)
POOL_ROWS = 4096
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


async def fill(connection: Connection, servers: int) -> None:
    """Write all of it up to now; `go_on` does the rest."""
    now = datetime.now(UTC)
    today = now.replace(minute=0, second=0, microsecond=0)
    engine = await engines.of(connection)
    plain = engine.name == "postgres"
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status)"
        " SELECT 'server-' || n, false, 'online' FROM generate_series(1, $1::int) n",
        servers,
    )
    if not plain:
        await connection.execute(  # nothing but the questions may run
            "SELECT alter_job(job_id, scheduled => false)"
            " FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
    made_from = today - ROLLED_UP
    for table in catalog.TABLES.values():
        started = time.monotonic()
        whole = table is catalog.CPU
        raw = today - timedelta(days=RAW_DAYS) + timedelta(hours=2) if whole else made_from
        oldest = today - (timedelta(days=DAYS) if whole else OTHER_DAYS)
        await _fill_raw(connection, table, raw, now, servers=servers, plain=plain)
        for tier in rollup.TIERS:
            await _fill_rollup(
                connection, table, tier, oldest, made_from, servers=servers, plain=plain
            )
        if plain:
            await connection.execute(
                f"UPDATE {rollup.INTERNAL}.rollup_state SET watermark = $1 WHERE name IN ($2, $3)",
                made_from,
                f"{table.name}_1m",
                f"{table.name}_1h",
            )
        else:
            await _refresh(connection, table, made_from)
            await connection.execute(
                f"SELECT compress_chunk(c) FROM show_chunks('{table.name}',"
                " older_than => $1::interval) c",
                timescale.RAW_COMPRESS_AFTER,
            )
        _say(table.name, started)
    started = time.monotonic()
    await engine.maintain(connection, now)
    _say("maintenance", started)
    started = time.monotonic()
    await connection.execute("VACUUM (ANALYZE)")
    _say("vacuum", started)


async def go_on(connection: Connection) -> None:
    """Write what came since, and a little of the future: the last minutes must not be empty."""
    started = time.monotonic()
    servers = await connection.fetchval("SELECT count(*) FROM server")
    engine = await engines.of(connection)
    until = datetime.now(UTC) + AHEAD
    for table in catalog.TABLES.values():
        newest: datetime = await connection.fetchval(
            f"SELECT max(time) FROM {table.name} WHERE server_id = 1"
        )
        await _fill_raw(connection, table, newest + INTERVAL, until, servers=servers, plain=False)
        if engine.name != "postgres":
            await _refresh(connection, table, newest - ROLLED_UP)
    await engine.roll_up(connection)
    await connection.execute("UPDATE server SET last_seen = now()")
    await connection.execute("ANALYZE")
    _say("until now", started)


def _say(what: str, started: float) -> None:
    print(f"  {what:14} {time.monotonic() - started:6.1f} s", flush=True)


async def _fill_raw(
    connection: Connection,
    table: catalog.Table,
    begin: datetime,
    end: datetime,
    *,
    servers: int,
    plain: bool,
) -> None:
    """Write samples in the order of time."""
    labels = [column.name for column in table.labels if table.name in SERIES]
    known = SERIES.get(table.name, ((), []))[0]
    columns = {name: _label(name) for name in labels if name in known}
    columns |= {column.name: f"p.{column.name}" for column in table.values}
    await _pool(connection, {c.name: _random(c.sql_type) for c in table.values})
    await _write(
        connection,
        (table.name, table.name, Period.DAY if plain else None),
        table,
        columns,
        (begin, end, INTERVAL),
        servers=servers,
    )


async def _fill_rollup(
    connection: Connection,
    table: catalog.Table,
    tier: rollup.Tier,
    begin: datetime,
    end: datetime,
    *,
    servers: int,
    plain: bool,
) -> None:
    """Write rollups where there are no raw samples to make them from."""
    definition = rollup.of(
        table.name, [(c.name, c.sql_type) for c in (*table.labels, *table.values)]
    )
    labels = {group.name for group in definition.groups} | set(definition.described)
    kinds = {
        name + suffix: kind for name, kind in definition.values for suffix in ("", "_min", "_max")
    }
    columns = {}
    for name in definition.columns[2:]:
        if name in labels:
            columns[name] = _label(name)
        elif name in kinds:
            columns[name] = f"p.{name}"
        else:  # counts
            columns[name] = f"{tier.width // INTERVAL}"
    await _pool(connection, {name: _random(kind) for name, kind in kinds.items()})
    name = f"{table.name}_{tier.name}_{'rollup' if plain else 'archive'}"
    await _write(
        connection,
        (f"{rollup.INTERNAL}.{name}", name, postgres.PERIODS[tier.name] if plain else None),
        table,
        columns,
        (begin, end, tier.width),
        servers=servers,
        together=rolling.TOGETHER[tier.name] // tier.width if plain else 1,
    )


def _label(name: str) -> str:
    return f"l.{name}::jsonb" if name == "labels" else f"l.{name}"


def _random(kind: str) -> str:
    match kind:
        case "real[]":
            return f"ARRAY[{', '.join(['random() * 100'] * CORES)}]::real[]"
        case "bigint":
            return "(random() * 1e10)::bigint"
        case _:
            return f"(random() * 100)::{kind}"


async def _pool(connection: Connection, values: dict[str, str]) -> None:
    """Draw the rows that others are made of."""
    drawn = ", ".join(f"{value} AS {name}" for name, value in values.items())
    await connection.execute("DROP TABLE IF EXISTS pool")
    await connection.execute(
        f"CREATE TEMP TABLE pool AS SELECT n AS id, {drawn}"
        f" FROM generate_series(0, {POOL_ROWS - 1}) n"
    )
    await connection.execute("ANALYZE pool")


async def _write(
    connection: Connection,
    target: tuple[str, str, Period | None],
    table: catalog.Table,
    columns: dict[str, str],
    span: tuple[datetime, datetime, timedelta],
    *,
    servers: int,
    together: int = 1,
) -> None:
    """Insert what all servers have in a span, a partition (or a day) at a time.

    A partition is filled before it is indexed and attached, which saves most of the time. So many
    rows of a server stand `together` as were written by one statement.
    """
    relation, name, period = target
    begin, end, width = span
    labels, rows = SERIES.get(table.name, ((), []))
    values = ", ".join("(" + ", ".join(map(repr, row)) + ")" for row in rows)
    series = f" CROSS JOIN (VALUES {values}) l ({', '.join(labels)})" if rows else ""
    while begin < end:
        bounds = (period or Period.DAY).begin(begin), (period or Period.DAY).next(begin)
        until = min(bounds[1], end)
        steps = -(-(until - begin) // width)
        into = relation if period is None else f"{rollup.INTERNAL}.{name}_{bounds[0]:%Y%m%d}"
        statements = [
            f"INSERT INTO {into} (time, server_id, {', '.join(columns)})"
            f" SELECT '{begin.isoformat()}'::timestamptz"
            f" + (i / {servers * together} * {together} + i % {together})"
            f" * interval '{int(width.total_seconds())} s',"
            f" i / {together} % {servers} + 1, {', '.join(columns.values())}"
            f" FROM generate_series(0, {steps * servers - 1}) i"
            f" JOIN pool p ON p.id = hashint4(i) & {POOL_ROWS - 1}{series}"
        ]
        if period is not None:
            statements = [
                f"DROP TABLE IF EXISTS {into}",
                f"CREATE TABLE {into} (LIKE {relation} INCLUDING DEFAULTS)",
                *statements,
                f"ALTER TABLE {relation} ATTACH PARTITION {into}"
                f" FOR VALUES FROM ('{bounds[0].isoformat()}') TO ('{bounds[1].isoformat()}')",
            ]
        async with connection.transaction():
            await connection.execute("SET LOCAL maintenance_work_mem = '1GB'")
            for statement in statements:
                await connection.execute(statement)
        begin = until


async def _refresh(connection: Connection, table: catalog.Table, begin: datetime) -> None:
    """Do what TimescaleDB's policies would have done."""
    until = (datetime.now(UTC) - timescale.REFRESH_UNTIL).isoformat()
    for tier in rollup.TIERS:
        view = f"{rollup.INTERNAL}.{table.name}_{tier.name}_rollup"
        await connection.execute(
            f"CALL refresh_continuous_aggregate('{view}', '{begin.isoformat()}', '{until}')"
        )
