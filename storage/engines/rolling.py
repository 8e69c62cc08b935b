"""Incremental rollups on plain PostgreSQL.

Behind `<table>_1m` and `<table>_1h` stand a table of finished buckets, up to a watermark, and the
buckets after it, made from raw samples when they are asked for: the newest bucket is answered at
once. A run moves the watermark on, and redoes finished buckets that late samples have touched; the
gateway notes those in `rollup_dirty`, in the transaction of the samples.

    raw ──────────────────┬──────────── watermark ── now
    rollup table: finished │ live tail: from raw

A sample is late when it is older than LATE_AFTER, the watermark stays SETTLED behind now, and a
flush takes less than the difference: no sample can slip between the two.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from storage import catalog
from storage.engines import rollup
from storage.engines.rollup import INTERNAL, TIERS, Rollup, Tier

if TYPE_CHECKING:
    from storage.database import Connection

SETTLED = timedelta(seconds=150)  # behind now: buckets that end later are not finished
LATE_AFTER = timedelta(seconds=60)
STEP_MAX = {"1m": timedelta(hours=2), "1h": timedelta(hours=12)}  # of one transaction
# Minutes are finished five at a time, so that those of a server lie on one page: to read a day of
# them takes a fifth of the time. Till then they are answered from raw samples.
TOGETHER = {"1m": timedelta(minutes=5), "1h": timedelta(hours=1)}
DIRTY_MAX = 5000  # marks redone in one transaction
WORK_MEM = "32MB"  # an hour of processes of a thousand servers is added up in memory
IN_ORDER = "\nORDER BY 2, 1"  # server, time: what is asked for together lies together

NOTE_LATE = f"""
INSERT INTO {INTERNAL}.rollup_dirty (table_name, server_id, hour)
SELECT DISTINCT table_name, server_id, date_bin(INTERVAL '1 hour', time, TIMESTAMPTZ 'epoch')
FROM unnest($1::text[], $2::int[], $3::timestamptz[]) AS l (table_name, server_id, time)
"""

TAKE_DIRTY = f"""
WITH taken AS (
  DELETE FROM {INTERNAL}.rollup_dirty WHERE id IN (
    SELECT id FROM {INTERNAL}.rollup_dirty ORDER BY id LIMIT $1)
  RETURNING table_name, server_id, hour
)
SELECT table_name, array_agg(server_id) AS servers, array_agg(hour) AS hours
FROM (SELECT DISTINCT * FROM taken) t GROUP BY table_name
"""

# What is not finished yet because it waits for company is not behind.
LAG = f"""
SELECT greatest(0, extract(epoch FROM max(
  now() - watermark - greatest(width, INTERVAL '{int(TOGETHER["1m"].total_seconds())} s'))))::float8
FROM {INTERNAL}.rollup_state HAVING count(*) > 0
"""

NEEDED_FROM = f"""
SELECT table_name, min(moment) AS moment FROM (
  SELECT regexp_replace(name, '_1[mh]$', '') AS table_name, watermark AS moment
  FROM {INTERNAL}.rollup_state
  UNION ALL SELECT table_name, hour FROM {INTERNAL}.rollup_dirty
) needed GROUP BY table_name
"""

ROLLUPS = tuple(
    rollup.of(table.name, [(c.name, c.sql_type) for c in (*table.labels, *table.values)])
    for table in catalog.TABLES.values()
)


def stored(definition: Rollup, tier: Tier) -> str:
    """Return the name of the table of finished buckets."""
    return f"{INTERNAL}.{definition.table}_{tier.name}_rollup"


def bucket(tier: Tier) -> str:
    """Return the expression of a sample's bucket."""
    return f"date_bin({tier.interval}, {{}}, TIMESTAMPTZ 'epoch')"


def view_sql(definition: Rollup, tier: Tier) -> str:
    """Return the public view: finished buckets, the live tail, and imported history."""
    name = f"{definition.table}_{tier.name}"
    columns = ", ".join(definition.columns)
    watermark = f"(SELECT watermark FROM {INTERNAL}.rollup_state WHERE name = '{name}')"
    tail = definition.select_in_bulk(
        bucket(tier).format(f"{definition.table}.time"),
        f"{definition.table}.time >= {watermark}",
    )
    return (
        f"CREATE OR REPLACE VIEW {name} AS\n"
        f"SELECT {columns} FROM {stored(definition, tier)} WHERE time < {watermark}\n"
        f"UNION ALL\nSELECT {columns} FROM (\n{tail}\n) tail\n"
        f"UNION ALL\nSELECT {columns} FROM {INTERNAL}.{name}_archive"
    )


def create_sql(definition: Rollup, tier: Tier) -> list[str]:
    """Return the statements that create one tier of a table's rollups."""
    name = f"{definition.table}_{tier.name}"
    table = stored(definition, tier)
    return [
        f"CREATE TABLE {table} ({definition.ddl()}) PARTITION BY RANGE (time)",
        f"CREATE INDEX {name}_rollup_server_time ON {table} (server_id, time DESC)",
        f"CREATE TABLE {INTERNAL}.{name}_archive ({definition.ddl()})",
        f"CREATE INDEX {name}_archive_server_time ON {INTERNAL}.{name}_archive"
        " (server_id, time DESC)",
        f"INSERT INTO {INTERNAL}.rollup_state (name, width, watermark) SELECT '{name}',"
        f" {tier.interval}, {bucket(tier).format('coalesce(min(time), now())')}"
        f" FROM {definition.table}",
        view_sql(definition, tier),
    ]


async def note_late(connection: Connection, samples: list[tuple[str, int, datetime]]) -> None:
    """Mark finished buckets that samples touch; in the transaction that stores the samples.

    Args:
        connection: of that transaction.
        samples: (table, server id, time), of those older than LATE_AFTER by the database's clock.
    """
    if samples:
        columns = (list(column) for column in zip(*samples, strict=True))
        await connection.execute(NOTE_LATE, *columns)


async def roll_up(connection: Connection) -> int:
    """Bring all rollups up to date; return the number of rows written.

    Each step is a transaction: a run that is killed loses at most that step. A step that takes
    longer than the statement timeout is halved, so that a big fleet gets on too.
    """
    await connection.execute(f"SET work_mem = '{WORK_MEM}'")
    written = await _redo_dirty(connection)
    for definition in ROLLUPS:
        for tier in TIERS:
            step = STEP_MAX[tier.name]
            while True:
                try:
                    made = await _advance(connection, definition, tier, step)
                except asyncpg.QueryCanceledError:
                    if step <= tier.width:
                        raise
                    step = max(tier.width, step / 2 // tier.width * tier.width)
                    continue
                if made is None:
                    break
                written += made
    return written


async def needed_from(connection: Connection) -> dict[str, datetime]:
    """Return the first moment of raw samples that are still to be rolled up, by table.

    Dropping them earlier would lose finished buckets that late samples touched, or make none.
    """
    return {row["table_name"]: row["moment"] for row in await connection.fetch(NEEDED_FROM)}


async def lag_s(connection: Connection) -> float | None:
    """Return by how many seconds the slowest rollup is behind; None where there is none."""
    return await connection.fetchval(LAG)


async def _advance(
    connection: Connection, definition: Rollup, tier: Tier, step: timedelta
) -> int | None:
    """Finish the buckets of the next `step`; None where there is nothing more to finish."""
    name = f"{definition.table}_{tier.name}"
    async with connection.transaction():
        row = await connection.fetchrow(
            f"""
            SELECT watermark, least(
              date_bin($1::interval, now() - $2::interval, TIMESTAMPTZ 'epoch'),
              watermark + $3::interval) AS until
            FROM {INTERNAL}.rollup_state WHERE name = $4 FOR UPDATE
            """,
            TOGETHER[tier.name],
            SETTLED,
            step,
            name,
        )
        if row is None or row["until"] <= row["watermark"]:
            return None
        made = await connection.execute(
            f"INSERT INTO {stored(definition, tier)} ({', '.join(definition.columns)})\n"
            + definition.select_in_bulk(
                bucket(tier).format(f"{definition.table}.time"),
                f"{definition.table}.time >= $1 AND {definition.table}.time < $2",
            )
            + IN_ORDER,
            row["watermark"],
            row["until"],
        )
        await connection.execute(
            f"UPDATE {INTERNAL}.rollup_state SET watermark = $1 WHERE name = $2",
            row["until"],
            name,
        )
    return int(made.rpartition(" ")[2])


async def _redo_dirty(connection: Connection) -> int:
    """Redo finished buckets that late samples have touched, hour by hour and server by server."""
    written = 0
    limit = DIRTY_MAX
    while True:
        try:
            async with connection.transaction():
                taken = await connection.fetch(TAKE_DIRTY, limit)
                if not taken:
                    return written
                redone = 0
                marks = {row["table_name"]: (row["servers"], row["hours"]) for row in taken}
                for definition in ROLLUPS:
                    if definition.table in marks:
                        for tier in TIERS:
                            redone += await _redo(
                                connection, definition, tier, *marks[definition.table]
                            )
        except asyncpg.QueryCanceledError:
            if limit == 1:
                raise
            limit //= 2
        else:
            written += redone


async def _redo(
    connection: Connection,
    definition: Rollup,
    tier: Tier,
    servers: list[int],
    hours: list[datetime],
) -> int:
    """Make the finished buckets of some hours and servers anew."""
    name = f"{definition.table}_{tier.name}"
    watermark: datetime = await connection.fetchval(
        f"SELECT watermark FROM {INTERNAL}.rollup_state WHERE name = $1 FOR UPDATE", name
    )
    table = stored(definition, tier)
    touched = (
        "EXISTS (SELECT FROM unnest($1::int[], $2::timestamptz[]) AS d (server_id, hour)"
        " WHERE d.server_id = {0}.server_id AND {0}.time >= d.hour"
        " AND {0}.time < d.hour + INTERVAL '1 hour') AND {0}.time < $3"
    )
    await connection.execute(
        f"DELETE FROM {table} r WHERE {touched.format('r')}", servers, hours, watermark
    )
    made = await connection.execute(
        f"INSERT INTO {table} ({', '.join(definition.columns)})\n"
        + definition.select_in_bulk(
            bucket(tier).format(f"{definition.table}.time"), touched.format(definition.table)
        )
        + IN_ORDER,
        servers,
        hours,
        watermark,
    )
    return int(made.rpartition(" ")[2])
