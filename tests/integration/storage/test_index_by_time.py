"""On plain PostgreSQL a question about the last minutes of all servers reads no whole day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage import engines, maintenance

SAMPLES, SERVERS = 2_000, 50


async def test_the_live_tail_is_found_without_reading_the_day(connection):
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = f"hostpulse_internal.cpu_{begin:%Y%m%d}"
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT $1::timestamptz + n * INTERVAL '10 s', s, 50"
        f" FROM generate_series(1, {SAMPLES}) n, generate_series(1, {SERVERS}) s ORDER BY 1",
        begin,
    )
    await connection.execute(
        "UPDATE hostpulse_internal.rollup_state SET watermark = $1 WHERE name = 'cpu_1m'",
        begin + timedelta(seconds=10 * SAMPLES - 300),
    )
    await connection.execute(f"VACUUM ANALYZE {day}")  # as autovacuum would

    plan = await connection.fetchval(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT time, avg(usage_percent) FROM cpu_1m"
        f" WHERE time >= TIMESTAMPTZ '{begin.isoformat()}' GROUP BY 1"
    )

    pages = await connection.fetchval(f"SELECT pg_relation_size('{day}') / 8192")
    top = plan[0]["Plan"]
    read = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    assert pages > 600
    assert read < pages / 4


async def test_partitions_to_come_are_indexed_too(connection):
    engine = await engines.of(connection)
    await engine.maintain(connection, datetime.now(UTC) + timedelta(days=5))
    await maintenance.maintain(connection)

    missing = await connection.fetch(
        """
        SELECT c.relname FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid
        WHERE c.relkind = 'r' AND c.relnamespace = 'hostpulse_internal'::regnamespace
          AND NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am a ON a.oid = x.relam WHERE i.indrelid = c.oid AND a.amname = 'brin')
        """
    )
    assert [row["relname"] for row in missing] == []
