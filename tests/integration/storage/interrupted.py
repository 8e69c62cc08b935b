"""What the tests of recovery share: samples not rolled up yet, and what must come of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from storage import engines

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
BEGIN = NOW - timedelta(hours=30)
BEGIN_ROLLUPS = "UPDATE hostpulse_internal.rollup_state SET watermark = $1"
WAITS_FOR_A_LOCK = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""
# Both tiers as plain SQL over raw samples, against what the rollups say: where they differ.
DIFFERENCE = """
WITH raw AS (
  SELECT date_bin($1::interval, time, 'epoch') AS time, server_id, count(*) AS n,
         avg(usage_percent) AS usage
  FROM cpu GROUP BY 1, 2
), rolled AS (
  SELECT time, server_id, sum(sample_count) AS n, avg(usage_percent) AS usage, count(*) AS rows
  FROM {} GROUP BY 1, 2
)
SELECT * FROM raw FULL JOIN rolled USING (time, server_id)
WHERE rows IS DISTINCT FROM 1 OR raw.n IS DISTINCT FROM rolled.n
   OR abs(raw.usage - rolled.usage) > 1e-4
"""


async def put(connection) -> None:
    """Store 30 hours of two servers that nothing has rolled up yet."""
    engine = await engines.of(connection)
    await engine.maintain(connection, BEGIN)
    await engine.maintain(connection, NOW)
    await connection.execute(BEGIN_ROLLUPS, BEGIN.replace(minute=0))
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT t, s, extract(epoch FROM t)::bigint % 100"
        " FROM generate_series($1::timestamptz, $2, INTERVAL '30 s') t, generate_series(1, 2) s",
        BEGIN,
        NOW,
    )


async def assert_rolled_up(connection) -> None:
    """Look that every bucket is there, once, with the right numbers, and finished in time."""
    for tier, width in (("1m", timedelta(minutes=1)), ("1h", timedelta(hours=1))):
        assert await connection.fetch(DIFFERENCE.format(f"cpu_{tier}"), width) == []
    engine = await engines.of(connection)
    assert await engine.rollup_lag_s(connection) < 2 * 3600


async def eventually(connection, query: str, *arguments):
    """Return what a query finds, as soon as it finds something."""
    async with asyncio.timeout(20):
        while (found := await connection.fetchval(query, *arguments)) is None:
            await asyncio.sleep(0.02)
    return found
