"""Metric tables on any PostgreSQL from 15: one range partition a day.

Partitions are made ahead, stand-alone, and then attached: creating one in place would lock the
parent against ingest. There is no default partition, which would make both attaching and detaching
scan or refuse; a time without a partition is refused before it gets here.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from storage import catalog
from storage.lateness import ACCEPT_LATE, RAW_RETENTION

if TYPE_CHECKING:
    from storage.database import Connection

SCHEMA = "hostpulse_internal"
DAYS_AHEAD = 3
LOCK_TIMEOUT = "2s"  # maintenance waits for nobody: it comes again


class Attachment(Enum):
    """How a partition hangs on its parent."""

    ATTACHED = auto()
    DETACHING = auto()
    DETACHED = auto()


class PostgresEngine:
    """Range partitions by UTC day."""

    name = "postgres"

    def create_table_sql(self, name: str, columns: str) -> list[str]:
        """Create the parent; its index is inherited by every partition."""
        return [
            f"CREATE TABLE {name} (time timestamptz NOT NULL, server_id integer NOT NULL,"
            f" {columns}) PARTITION BY RANGE (time)",
            f"CREATE INDEX {name}_server_time ON {name} (server_id, time DESC)",
        ]

    async def maintain(self, connection: Connection, now: datetime) -> list[str]:
        """Create the partitions of the coming days, drop those past retention."""
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        done: list[str] = []
        for table in catalog.TABLES:
            partitions = await self._partitions(connection, table)
            done += await self._create_missing(connection, table, partitions, now)
            done += await self._drop_expired(connection, table, partitions, now)
        return done

    async def _partitions(self, connection: Connection, table: str) -> dict[str, Attachment]:
        """Return the tables that are, or once were, partitions of `table`."""
        rows = await connection.fetch(
            """
            SELECT c.relname, i.inhrelid IS NOT NULL AS attached, i.inhdetachpending AS pending
            FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
            WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND c.relname ~ $2
            """,
            SCHEMA,
            f"^{table}_[0-9]{{8}}$",
        )
        return {
            row["relname"]: Attachment.DETACHING
            if row["pending"]
            else Attachment.ATTACHED
            if row["attached"]
            else Attachment.DETACHED
            for row in rows
        }

    async def _create_missing(
        self,
        connection: Connection,
        table: str,
        partitions: dict[str, Attachment],
        now: datetime,
    ) -> list[str]:
        """Create and attach what is missing between the latest sample we take and days ahead."""
        today = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
        day = today - ACCEPT_LATE - timedelta(days=1)
        done: list[str] = []
        while day <= today + timedelta(days=DAYS_AHEAD):
            name = f"{table}_{day:%Y%m%d}"
            if partitions.get(name) is not Attachment.ATTACHED:
                until = day + timedelta(days=1)
                async with connection.transaction():
                    # It may be there, detached by hand and with samples: then it comes back.
                    await connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{name} (LIKE {table} INCLUDING ALL)"
                    )
                    await connection.execute(
                        f"ALTER TABLE {table} ATTACH PARTITION {SCHEMA}.{name}"
                        f" FOR VALUES FROM ('{day.isoformat()}') TO ('{until.isoformat()}')"
                    )
                done.append(f"created {name}")
            day += timedelta(days=1)
        return done

    async def _drop_expired(
        self,
        connection: Connection,
        table: str,
        partitions: dict[str, Attachment],
        now: datetime,
    ) -> list[str]:
        """Detach and drop the days that lie wholly before retention.

        A run that was killed in between left a table half or wholly detached: finish that.
        """
        done: list[str] = []
        for name, attachment in partitions.items():
            day = datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC)
            if day + timedelta(days=1) > now - RAW_RETENTION:
                continue
            if attachment is not Attachment.DETACHED:
                how = "FINALIZE" if attachment is Attachment.DETACHING else "CONCURRENTLY"
                await connection.execute(
                    f"ALTER TABLE {table} DETACH PARTITION {SCHEMA}.{name} {how}"
                )
            await connection.execute(f"DROP TABLE {SCHEMA}.{name}")
            done.append(f"dropped {name}")
        return done
