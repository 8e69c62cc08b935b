"""Metric tables on TimescaleDB Community from 2.18: hypertables, columnstore, policies.

Nothing is left to defaults: those keep raw samples for two weeks and compress nothing. The order
that lateness demands (lateness.py) is kept by the constants here: samples are accepted up to
ACCEPT_LATE, refreshes reach back further, and raw chunks are dropped after that.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from storage import catalog, retention
from storage.engines.rollup import HOUR, INTERNAL, MINUTE, TIERS
from storage.lateness import RAW_CHUNK, REFRESH_FROM
from storage.retention import RAW, Retention

if TYPE_CHECKING:
    from datetime import datetime

    from storage.database import Connection
    from storage.engines.rollup import Rollup, Tier

VERSION_MIN = (2, 18)
# Most outages are over by then. What comes later goes into compressed chunks: that costs no more,
# but waits while its chunk is compressed. A day of one server's raw samples from a cold disk takes
# 58 ms where six hours of it are rows, and 250 ms where all of it is (bench/query.py).
RAW_COMPRESS_AFTER = timedelta(hours=6)
# Refreshing compressed buckets works but costs; late samples come no later than REFRESH_FROM.
COMPRESS_AFTER = {MINUTE.name: timedelta(days=8), HOUR.name: timedelta(days=40)}
# What is younger is made from raw samples when it is asked for: of an hour that is a lot.
REFRESH_UNTIL = timedelta(minutes=2)
REFRESH_EVERY = timedelta(minutes=1)
TIDY_EVERY = timedelta(hours=1)
# Within a server's segment the rows of one series stand together: that halves what processes and
# interfaces take, against ordering by time alone. Of raw processes a series is a pid, whose numbers
# change little from row to row; rollups know names only.
SERIES = {
    "disk_usage": "mount, ",
    "disk_io": "device, ",
    "network": "interface, ",
    "process": "name, ",
    "custom": "name, ",
}
RAW_SERIES = SERIES | {"process": "name, pid, "}
STAGGER = timedelta(seconds=7)  # some seventy jobs share sixteen workers

# Of a policy that never succeeded, since it should have begun: job_stats has -infinity there.
LAG = """
SELECT greatest(0, extract(epoch FROM max(now() - CASE
  WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish
  ELSE j.initial_start END)))::float8
FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s USING (job_id)
WHERE j.proc_name = 'policy_refresh_continuous_aggregate' HAVING count(*) > 0
"""


def _interval(span: timedelta) -> str:
    """Write a span as SQL."""
    return f"INTERVAL '{int(span.total_seconds())} s'"


REFRESH_SOON = f"""
SELECT alter_job(job_id, config => config || jsonb_build_object(
  'end_offset', ({_interval(REFRESH_UNTIL)})::text))
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_refresh_continuous_aggregate'
  AND (config ->> 'end_offset')::interval > {_interval(REFRESH_UNTIL)}
"""

# Policies of raw hypertables where $2 is NULL, else of the continuous aggregates named `…_$2`.
ALTER_RETENTION = f"""
SELECT alter_job(
  j.job_id, config => j.config || jsonb_build_object('drop_after', $1::interval::text))
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.continuous_aggregates a
  ON j.hypertable_name IN (a.view_name, a.materialization_hypertable_name)  -- by version
WHERE j.proc_name = 'policy_retention' AND (j.config ->> 'drop_after')::interval <> $1
  AND CASE WHEN $2::text IS NULL THEN a.view_name IS NULL AND j.hypertable_name = ANY($3::text[])
      ELSE a.view_schema = '{INTERNAL}' AND a.view_name LIKE '%\\_' || $2 END
"""

# Policies of raw hypertables.
ALTER_COMPRESSION = """
SELECT alter_job(
  job_id, config => config || jsonb_build_object('compress_after', $1::interval::text))
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_compression' AND hypertable_name = ANY($2::text[])
  AND (config ->> 'compress_after')::interval <> $1
"""


def is_recent(version: str) -> bool:
    """Return whether a version of the extension, such as `2.23.0-dev`, is at least VERSION_MIN."""
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2]) >= VERSION_MIN


def _columnstore(series: str) -> str:
    """Return the settings of a columnstore, of a table whose series are told apart so."""
    return (
        "timescaledb.compress = true, timescaledb.compress_segmentby = 'server_id',"
        f" timescaledb.compress_orderby = '{series}time DESC'"
    )


class TimescaleEngine:
    """Hypertables and continuous aggregates; TimescaleDB's own workers do the rest."""

    name = "timescale"
    late_after = None  # what is invalidated is logged by TimescaleDB

    def __init__(self) -> None:
        self._policies = 0

    def create_table_sql(self, name: str, columns: str) -> list[str]:
        """Create a hypertable with one index, columnstore and retention."""
        return [
            f"CREATE TABLE {name} (time timestamptz NOT NULL, server_id integer NOT NULL,"
            f" {columns})",
            f"SELECT create_hypertable('{name}', by_range('time', {_interval(RAW_CHUNK)}),"
            " create_default_indexes => false)",
            f"CREATE INDEX {name}_server_time ON {name} (server_id, time DESC)",
            f"ALTER TABLE {name} SET ({_columnstore(RAW_SERIES.get(name, ''))})",
            self._policy(
                "add_compression_policy",
                name,
                f"compress_after => {_interval(RAW_COMPRESS_AFTER)}",
                TIDY_EVERY,
            ),
            self._policy(
                "add_retention_policy",
                name,
                f"drop_after => {_interval(Retention().raw)}",
                TIDY_EVERY,
            ),
        ]

    def create_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Create real-time continuous aggregates, their policies, and the public views."""
        return [s for r in rollups for tier in TIERS for s in self._create_rollup_sql(r, tier)]

    def _create_rollup_sql(self, definition: Rollup, tier: Tier) -> list[str]:
        """Create one tier of one table."""
        name = f"{definition.table}_{tier.name}"
        view = f"{INTERNAL}.{name}_rollup"
        columns = ", ".join(definition.columns)
        columnstore = _columnstore(SERIES.get(definition.table, ""))
        select = definition.select(f"time_bucket({tier.interval}, {definition.table}.time)")
        return [
            f"CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous,"
            " timescaledb.materialized_only = false, timescaledb.create_group_indexes = false)"
            f" AS {select} WITH NO DATA",
            f"SELECT set_chunk_time_interval('{view}', {_interval(tier.chunk)})",
            f"CREATE INDEX {name}_rollup_server_time ON {view} (server_id, time DESC)",
            f"ALTER MATERIALIZED VIEW {view} SET ({columnstore})",
            self._policy(
                "add_continuous_aggregate_policy",
                view,
                f"start_offset => {_interval(REFRESH_FROM)},"
                f" end_offset => {_interval(REFRESH_UNTIL)}",
                REFRESH_EVERY,
            ),
            self._policy(
                "add_compression_policy",
                view,
                f"compress_after => {_interval(COMPRESS_AFTER[tier.name])}",
                TIDY_EVERY,
            ),
            self._policy(
                "add_retention_policy",
                view,
                f"drop_after => {_interval(tier.retention)}",
                TIDY_EVERY,
            ),
            f"CREATE TABLE {INTERNAL}.{name}_archive ({definition.ddl()})",
            f"CREATE INDEX {name}_archive_server_time ON {INTERNAL}.{name}_archive"
            " (server_id, time DESC)",
            f"CREATE VIEW {name} AS\nSELECT {columns} FROM {view}\nUNION ALL\n"
            f"SELECT {columns} FROM {INTERNAL}.{name}_archive",
        ]

    def drop_rollups_sql(self, rollups: list[Rollup]) -> list[str]:
        """Drop the views and what stands behind them."""
        names = [f"{r.table}_{tier.name}" for r in rollups for tier in TIERS]
        return [
            *(f"DROP VIEW {name}" for name in names),
            *(f"DROP TABLE {INTERNAL}.{name}_archive" for name in names),
            *(f"DROP MATERIALIZED VIEW {INTERNAL}.{name}_rollup" for name in names),
        ]

    def refit_sql(self) -> list[str]:
        """Order chunks of processes to come by pid, and refresh hours as soon as they are over.

        Rollups stay as they are: a continuous aggregate that is replaced loses its history.
        """
        return [
            f"ALTER TABLE process SET ({_columnstore(RAW_SERIES['process'])})",
            REFRESH_SOON,
        ]

    def index_by_time_sql(self) -> list[str]:
        """Return nothing: chunks are small enough to be read whole."""
        return []

    def drop_index_by_time_sql(self) -> list[str]:
        """Return nothing."""
        return []

    async def maintain(self, connection: Connection, now: datetime) -> list[str]:
        """Leave it to TimescaleDB's policies, once these say what the database's settings do.

        A migration that was taken back and made again, settings that came from another database,
        or an older hostpulse, leave them with something else.
        """
        del now
        altered = await self._alter_retention(connection, await retention.read(connection))
        done = [f"altered {count} retention policies of {tier}" for tier, count in altered.items()]
        compression = await connection.fetch(
            ALTER_COMPRESSION, RAW_COMPRESS_AFTER, list(catalog.TABLES)
        )
        if compression:
            done.append(f"altered {len(compression)} compression policies of {RAW}")
        return done

    async def roll_up(self, connection: Connection) -> int:
        """Leave it to TimescaleDB's policies."""
        del connection
        return 0

    async def note_late(
        self, connection: Connection, samples: list[tuple[str, int, datetime]]
    ) -> None:
        """Do nothing: `late_after` asks for nothing."""
        del connection, samples

    async def rebuild_rollups(self, connection: Connection) -> None:
        """Refresh from the oldest raw sample on; what is older is in the archive."""
        until: datetime = await connection.fetchval(f"SELECT now() - {_interval(REFRESH_UNTIL)}")
        for table in catalog.TABLES:
            oldest: datetime | None = await connection.fetchval(
                f"SELECT date_trunc('hour', min(time), 'UTC') FROM {table}"
            )
            for tier in TIERS:
                view = f"{INTERNAL}.{table}_{tier.name}_rollup"
                # A window without a whole bucket is refused: its samples are answered as they are.
                if oldest is not None and oldest + tier.width <= until:
                    await connection.execute(
                        f"CALL refresh_continuous_aggregate('{view}',"
                        f" '{oldest.isoformat()}', '{until.isoformat()}')"
                    )

    async def rollup_lag_s(self, connection: Connection) -> float | None:
        """Return the seconds since the refresh that succeeded longest ago."""
        return await connection.fetchval(LAG)

    async def keep_for(self, connection: Connection, retention: Retention) -> None:
        """Alter the retention policies; a run that is due at once may drop at once."""
        await self._alter_retention(connection, retention)

    async def _alter_retention(self, connection: Connection, kept: Retention) -> dict[str, int]:
        """Alter policies that say otherwise; return how many, by tier, where there were any."""
        altered: dict[str, int] = {}
        for tier, span in kept.tiers.items():
            view = None if tier == RAW else f"{tier}_rollup"
            rows = await connection.fetch(ALTER_RETENTION, span, view, list(catalog.TABLES))
            if rows:
                altered[tier] = len(rows)
        return altered

    def _policy(self, function: str, relation: str, arguments: str, every: timedelta) -> str:
        """Add a policy; each begins a little after the one before."""
        self._policies += 1
        start = _interval(STAGGER * self._policies)
        return (
            f"SELECT {function}('{relation}', {arguments},"
            f" schedule_interval => {_interval(every)}, initial_start => now() + {start})"
        )
