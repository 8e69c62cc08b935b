"""What is done to a database again and again, by TimescaleDB's workers or by a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from storage import maintenance

if TYPE_CHECKING:
    from storage.database import Connection
    from storage.engines import Engine

MAINTAINED_EVERY = timedelta(minutes=10)  # by each gateway
ROLLED_UP_EVERY = timedelta(seconds=30)

JOBS = """
SELECT j.application_name, j.proc_name, j.scheduled, j.schedule_interval,
       coalesce(nullif(regexp_replace(a.view_name, '_rollup$', ''), ''), j.hypertable_name)
         AS relation,
       CASE WHEN isfinite(s.last_run_started_at) THEN s.last_run_started_at END AS last_run,
       CASE WHEN isfinite(j.next_start) THEN j.next_start END AS next_run,
       s.last_run_status, s.total_failures
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.job_stats s USING (job_id)
LEFT JOIN timescaledb_information.continuous_aggregates a
  ON j.hypertable_name IN (a.view_name, a.materialization_hypertable_name)
WHERE j.job_id >= 1000 AND j.hypertable_name IS NOT NULL
ORDER BY j.job_id
"""
KINDS = {
    "policy_refresh_continuous_aggregate": "refresh",
    "policy_compression": "compression",
    "policy_retention": "retention",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Something that is done again and again.

    Args:
        kind: `refresh`, `compression` or `retention` (TimescaleDB); `maintenance` or `rollups`
            (a gateway does these).
        relation: what it is done to; None for everything.
        last_run: when it began last.
        next_run: when it is due.
        last_status: `Success` or `Failed` as TimescaleDB has it; of ours `ok`, or the error.
        failures: so far, where they are counted.
    """

    kind: str
    relation: str | None
    last_run: datetime | None
    next_run: datetime | None
    last_status: str | None
    failures: int | None


async def find(connection: Connection, engine: Engine) -> list[Policy]:
    """Return all policies, TimescaleDB's first."""
    if engine.name == "timescale":
        return [*await _jobs(connection), *await _own(connection, rolls_up=False)]
    return await _own(connection, rolls_up=True)


async def _jobs(connection: Connection) -> list[Policy]:
    """Return TimescaleDB's policies."""
    return [
        Policy(
            kind=KINDS.get(row["proc_name"], str(row["proc_name"])),
            relation=row["relation"],
            last_run=row["last_run"],
            next_run=row["next_run"] if row["scheduled"] else None,
            last_status=row["last_run_status"],
            failures=row["total_failures"],
        )
        for row in await connection.fetch(JOBS)
    ]


async def _own(connection: Connection, *, rolls_up: bool) -> list[Policy]:
    """Return what gateways do to the database."""
    known = await maintenance.outcomes(connection)
    every = {"maintenance": MAINTAINED_EVERY}
    if rolls_up:
        every["rollups"] = ROLLED_UP_EVERY
    return [
        Policy(
            kind=kind,
            relation=None,
            last_run=known[kind].at if kind in known else None,
            next_run=known[kind].at + interval if kind in known else None,
            last_status=(known[kind].error or "ok") if kind in known else None,
            failures=None,
        )
        for kind, interval in every.items()
    ]
