"""What has to be done to a database now and then, by one process at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import engines, losses

if TYPE_CHECKING:
    from storage.database import Connection

ADVISORY_LOCK = 7_240_002  # any number, the same in every process that maintains

# How long what is no metric is kept (DESIGN: alert history, audit, events a year).
EXPIRE = (
    "DELETE FROM event WHERE time < now() - interval '1 year'",
    "DELETE FROM audit WHERE time < now() - interval '1 year'",
    "DELETE FROM alert_history WHERE time < now() - interval '1 year'",
    "DELETE FROM notification WHERE created_at < now() - interval '90 days'",
    "DELETE FROM dead_letter WHERE parked_at < now() - interval '30 days'",
    "DELETE FROM late_arrival WHERE learned_at < now() - interval '30 days'",
    "DELETE FROM http_request WHERE received_at < now() - interval '24 hours'",
    losses.COMPACT,
    "DELETE FROM ingest_gap WHERE recorded_at < now() - interval '1 year'",
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
        name = await connection.fetchval(
            "SELECT value #>> '{}' FROM hostpulse_meta WHERE key = 'engine'"
        )
        done = await engines.by_name(name).maintain(connection, now or datetime.now(UTC))
        for statement in EXPIRE:
            await connection.execute(statement)
        await connection.execute(REMEMBER)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
    return done


async def age_s(connection: Connection) -> float | None:
    """Return the seconds since the last maintenance by anybody; None where there was none."""
    return await connection.fetchval(AGE)
