"""Metric tables on any PostgreSQL from 15: range partitions, and rollups of our own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from storage import catalog, retention
from storage.engines import partitions, rolling
from storage.engines.partitions import Partitioned, Period
from storage.engines.rollup import HOUR, INTERNAL, MINUTE, TIERS
from storage.lateness import ACCEPT_LATE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from storage.database import Connection
    from storage.engines.rollup import Rollup
    from storage.retention import Retention

LOCK_TIMEOUT = "2s"  # maintenance waits for nobody: it comes again
AHEAD = timedelta(days=3)
PERIODS = {MINUTE.name: Period.WEEK, HOUR.name: Period.MONTH}

STATE_SQL = (
    f"""
    CREATE TABLE {INTERNAL}.rollup_state (
      name text PRIMARY KEY,
      width interval NOT NULL,
      watermark timestamptz NOT NULL
    )
    """,
    f"""
    CREATE TABLE {INTERNAL}.rollup_dirty (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      table_name text NOT NULL,
      server_id integer NOT NULL,
      hour timestamptz NOT NULL
    )
    """,
)


class PostgresEngine:
    """Range partitions by UTC day, week and month."""

    name = "postgres"
    late_after = rolling.LATE_AFTER

    def create_table_sql(self, name: str, columns: str) -> list[str]:
        """Create the parent; its index is inherited by every partition."""
        return [
            f"CREATE TABLE {name} (time timestamptz NOT NULL, server_id integer NOT NULL,"
            f" {columns}) PARTITION BY RANGE (time)",
            f"CREATE INDEX {name}_server_time ON {name} (server_id, time DESC)",
        ]

    def create_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Create tables of finished buckets, and views that add the live tail."""
        return [
            *STATE_SQL,
            *(s for r in rollups for tier in TIERS for s in rolling.create_sql(r, tier)),
        ]

    def drop_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Drop the views and what stands behind them."""
        names = [f"{r.table}_{tier.name}" for r in rollups for tier in TIERS]
        return [
            *(f"DROP VIEW {name}" for name in names),
            *(f"DROP TABLE {INTERNAL}.{name}_rollup CASCADE" for name in names),
            *(f"DROP TABLE {INTERNAL}.{name}_archive" for name in names),
            f"DROP TABLE {INTERNAL}.rollup_state, {INTERNAL}.rollup_dirty",
        ]

    def refit_sql(self) -> list[str]:
        """Replace the views of processes, whose live tail is made as the finished buckets are."""
        return [
            rolling.view_sql(each, tier)
            for each in rolling.ROLLUPS
            if each.table == "process"
            for tier in TIERS
        ]

    def index_by_time_sql(self) -> list[str]:
        """Say of each half megabyte from when to when its rows are; they lie in that order."""
        return [
            f"CREATE INDEX {name}_by_time ON {relation} USING brin (time)"
            " WITH (pages_per_range = 64, autosummarize = on)"
            for name, relation in _relations()
        ]

    def drop_index_by_time_sql(self) -> list[str]:
        """Drop them; the index of rollups is in their schema."""
        return [
            f"DROP INDEX {relation.removesuffix(name)}{name}_by_time"
            for name, relation in _relations()
        ]

    async def maintain(self, connection: Connection, now: datetime) -> list[str]:
        """Create the partitions of the coming days, drop those past retention."""
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        kept = await retention.read(connection)
        needed = await rolling.needed_from(connection)
        return [
            line
            for table in _partitioned(kept, needed)
            for line in await partitions.maintain(connection, table, now)
        ]

    async def roll_up(self, connection: Connection) -> int:
        """Finish and redo buckets."""
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        return await rolling.roll_up(connection)

    async def keep_for(self, connection: Connection, retention: Retention) -> None:
        """Leave it to the next maintenance, which reads what is in force."""
        del connection, retention

    async def note_late(
        self, connection: Connection, samples: list[tuple[str, int, datetime]]
    ) -> None:
        """Mark finished buckets that late samples touch."""
        await rolling.note_late(connection, samples)

    async def rebuild_rollups(self, connection: Connection) -> None:
        """Redo what a move has marked."""
        await self.roll_up(connection)

    async def rollup_lag_s(self, connection: Connection) -> float | None:
        """Return by how many seconds the slowest rollup is behind its buckets."""
        return await rolling.lag_s(connection)


def _relations() -> list[tuple[str, str]]:
    """List all partitioned tables, by their name and as SQL has it."""
    rollups = [f"{table}_{tier.name}_rollup" for table in catalog.TABLES for tier in TIERS]
    return [
        *((table, table) for table in catalog.TABLES),
        *((name, f"{INTERNAL}.{name}") for name in rollups),
    ]


def _partitioned(kept: Retention, needed: Mapping[str, datetime]) -> list[Partitioned]:
    """List the partitioned tables: raw ones by the day, rollups by the week and month.

    Raw samples that are not rolled up yet are kept, however old they are: `needed` has the first
    moment of those, by table.
    """
    back = ACCEPT_LATE + timedelta(days=1)
    raw = [
        Partitioned(
            parent=name,
            name=name,
            period=Period.DAY,
            back=min(back, kept.raw),  # what would be dropped at once is not made
            ahead=AHEAD,
            retention=kept.raw,
            needed_from=needed.get(name),
        )
        for name in catalog.TABLES
    ]
    rollups = [
        Partitioned(
            parent=f"{INTERNAL}.{name}_{tier.name}_rollup",
            name=f"{name}_{tier.name}_rollup",
            period=PERIODS[tier.name],
            back=back,
            ahead=AHEAD,
            retention=kept.tiers[tier.name],
        )
        for name in catalog.TABLES
        for tier in TIERS
    ]
    return raw + rollups
