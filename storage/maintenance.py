"""What has to be done to a database now and then, by one process at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import engines, retention

if TYPE_CHECKING:
    from storage.database import Connection

ADVISORY_LOCK = 7_240_002  # any number, the same in every process that maintains
ROLLUP_LOCK = 7_240_003

# How long what is no metric is kept (DESIGN: alert history, audit, events a year).
EXPIRE = (
    "DELETE FROM event WHERE time < now() - interval '1 year'",
    "DELETE FROM audit WHERE time < now() - interval '1 year'",
    "DELETE FROM alert_history WHERE time < now() - interval '1 year'",
    "DELETE FROM notification WHERE created_at < now() - interval '90 days'",
    "DELETE FROM dead_letter WHERE parked_at < now() - interval '30 days'",
    "DELETE FROM late_arrival WHERE learned_at < now() - interval '30 days'",
    "DELETE FROM http_request WHERE received_at < now() - interval '24 hours'",
)

REMEMBER = """
INSERT INTO setting (key, value) VALUES ('maintenance.last_run', to_jsonb(now()))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

AGE = """
SELECT extract(epoch FROM now() - (value #>> '{}')::timestamptz)::float8
FROM setting WHERE key = 'maintenance.last_run'
"""


async def maintain(connection: Connection, *, now: datetime | None = None) -> list[str] | None:
    """Make partitions ahead, drop what has expired; return what was done.

    Returns None where another process is at it. Must not run in a transaction; safe to interrupt.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
        return None
    try:
        engine = await engines.of(connection)
        done = await engine.maintain(connection, now or datetime.now(UTC))
        for statement in EXPIRE:
            await connection.execute(statement)
        await connection.execute(REMEMBER)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
    return done


async def roll_up(connection: Connection) -> int | None:
    """Bring rollups up to date; return the rows written, None where another process is at it."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ROLLUP_LOCK):
        return None
    try:
        engine = await engines.of(connection)
        return await engine.roll_up(connection)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", ROLLUP_LOCK)


async def keep_for(connection: Connection, wanted: retention.Retention) -> None:
    """Put a retention in force on this database's engine.

    Raises:
        InvalidRetention: it breaks a rule.
    """
    wanted.check()
    engine = await engines.of(connection)
    async with connection.transaction():
        await retention.keep(connection, wanted)
        await engine.keep_for(connection, wanted)


async def age_s(connection: Connection) -> float | None:
    """Return the seconds since the last maintenance by anybody; None where there was none."""
    return await connection.fetchval(AGE)
