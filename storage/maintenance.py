"""What has to be done to a database now and then, by one process at a time."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from storage import catalog, engines, enrollments, expiry, losses, retention
from storage.engines.rollup import INTERNAL, TIERS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from storage.database import Connection

ADVISORY_LOCK = 7_240_002  # any number, the same in every process that maintains
ROLLUP_LOCK = 7_240_003
TIMEOUT_S = 300.0  # of one run

REMEMBER = """
INSERT INTO setting (key, value) VALUES ('maintenance.last_run', to_jsonb(now()))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

OUTCOME = """
INSERT INTO setting (key, value)
VALUES ($1 || '.outcome', jsonb_build_object('at', now(), 'error', $2::text))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
OUTCOMES = """
SELECT split_part(key, '.', 1) AS kind, (value ->> 'at')::timestamptz AS at,
       value ->> 'error' AS error
FROM setting WHERE key IN ('maintenance.outcome', 'rollups.outcome')
"""

# Imported history has no partitions to drop: once a day is often enough to look through it.
ARCHIVE_DUE = """
INSERT INTO setting (key, value) VALUES ('archive.expired', to_jsonb($1::timestamptz))
ON CONFLICT (key) DO UPDATE SET value = excluded.value
WHERE (setting.value #>> '{}')::timestamptz <= $1 - interval '1 day'
RETURNING true
"""

AGE = """
SELECT extract(epoch FROM now() - (value #>> '{}')::timestamptz)::float8
FROM setting WHERE key = 'maintenance.last_run'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the last run by anybody went; `error` is None where it went well."""

    at: datetime
    error: str | None


async def maintain(connection: Connection, *, now: datetime | None = None) -> list[str] | None:
    """Make partitions ahead, drop what has expired; return what was done.

    Returns None where another process is at it. Must not run in a transaction; safe to interrupt.

    Raises:
        TimeoutError: it took longer than TIMEOUT_S; what was done stays.
    """
    async with _alone(connection, ADVISORY_LOCK, "maintenance") as alone:
        if not alone:
            return None
        moment = now or datetime.now(UTC)
        engine = await engines.of(connection)
        done = await engine.maintain(connection, moment)
        await expiry.expire(connection)
        await connection.execute(losses.COMPACT)
        await connection.execute(enrollments.GIVE_UP)
        await _expire_archives(connection, moment)
        await connection.execute(REMEMBER)
        return done


async def roll_up(connection: Connection) -> int | None:
    """Bring rollups up to date; return the rows written, None where another process is at it.

    Raises:
        TimeoutError: it took longer than TIMEOUT_S; what was done stays.
    """
    async with _alone(connection, ROLLUP_LOCK, "rollups") as alone:
        if not alone:
            return None
        engine = await engines.of(connection)
        return await engine.roll_up(connection)


async def outcomes(connection: Connection) -> dict[str, Outcome]:
    """Return how the last runs went, of `maintenance` and `rollups`."""
    return {
        row["kind"]: Outcome(at=row["at"], error=row["error"])
        for row in await connection.fetch(OUTCOMES)
    }


@asynccontextmanager
async def _alone(connection: Connection, lock: int, kind: str) -> AsyncGenerator[bool]:
    """Be the only process at it, unless another is, and write down how it went."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):
        yield False
        return
    limit = asyncio.timeout(TIMEOUT_S)
    try:
        async with limit:
            yield True
        await connection.execute(OUTCOME, kind, None)
    except (asyncpg.PostgresError, TimeoutError) as error:
        reason = f"not done within {TIMEOUT_S:g} s" if limit.expired() else str(error)
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.execute(OUTCOME, kind, f"{type(error).__name__}: {reason}")
        raise
    finally:
        # A connection that is gone holds no lock; and what went wrong before must not be hidden.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.execute("SELECT pg_advisory_unlock($1)", lock)


async def _expire_archives(connection: Connection, now: datetime) -> None:
    """Drop imported history that its tier no longer keeps."""
    if not await connection.fetchval(ARCHIVE_DUE, now):
        return
    kept = await retention.read(connection)
    for table in catalog.TABLES:
        for tier in TIERS:
            await connection.execute(
                f"DELETE FROM {INTERNAL}.{table}_{tier.name}_archive"  # noqa: S608 - the catalog's
                " WHERE time < $1",
                now - kept.tiers[tier.name],
            )


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
