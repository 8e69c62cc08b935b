"""`hostpulse doctor`: what is wrong here, and what mends it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.markup import escape

from cli import parked, readiness
from cli.connection import with_connection
from hostpulse import errors
from storage import database, engines, maintenance, schema, status
from storage.engines import timescale

if TYPE_CHECKING:
    from collections.abc import Mapping

doctor_app = typer.Typer(invoke_without_command=True)
doctor_app.command("parked")(parked.list_parked)
doctor_app.command("replay")(parked.replay)

MAINTENANCE_LATE_S = 4 * 3600.0

PARKED = "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"
SILENT = """
SELECT count(*) FROM server
WHERE watch_offline AND status = 'online' AND last_seen < now() - interval '3 minutes'
"""
# TimescaleDB's own advice: 3 processes of PostgreSQL's, its background workers, parallel workers.
WORKERS = """
SELECT current_setting('max_worker_processes')::int AS processes,
  coalesce(current_setting('timescaledb.max_background_workers', true)::int, 0) AS background,
  current_setting('max_parallel_workers')::int AS parallel,
  (SELECT count(*) FROM timescaledb_information.jobs WHERE scheduled) AS jobs,
  (SELECT count(*) FROM timescaledb_information.jobs WHERE NOT scheduled AND job_id >= 1000)
    AS paused
"""
JOBS_PER_WORKER = 6  # they begin at different times, and most have nothing to do
FAILED_JOBS = """
SELECT string_agg(format('%s of %s', j.application_name, j.hypertable_name), ', ')
FROM timescaledb_information.job_stats s JOIN timescaledb_information.jobs j USING (job_id)
WHERE s.last_run_status = 'Failed'
"""
ROLLUP_LATE_S = 600.0
WRONG_CLOCKS = "SELECT string_agg(name, ', ') FROM server WHERE clock_is_wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    detail: str


async def _database(connection: database.Connection) -> list[Finding]:
    """Look at the database."""
    try:
        await schema.check(connection)
    except errors.HostpulseError as error:
        return [Finding(check="schema", ok=False, detail=str(error))]
    age_s = await maintenance.age_s(connection)
    parked = await connection.fetchval(PARKED)
    silent = await connection.fetchval(SILENT)
    wrong_clocks = await connection.fetchval(WRONG_CLOCKS)
    return [
        Finding(check="schema", ok=True, detail=f"{schema.SCHEMA}"),
        Finding(
            check="maintenance",
            ok=age_s is not None and age_s < MAINTENANCE_LATE_S,
            detail=f"{age_s:.0f} s ago" if age_s is not None else "never: is a gateway running?",
        ),
        Finding(
            check="parked batches",
            ok=parked == 0,
            detail=f"{parked}; see `hostpulse doctor parked`" if parked else "none",
        ),
        Finding(check="silent servers", ok=silent == 0, detail=f"{silent}"),
        Finding(
            check="clocks",
            ok=wrong_clocks is None,
            detail=f"more than 5 minutes off: {wrong_clocks}" if wrong_clocks else "all close",
        ),
        *await _engine(connection),
    ]


async def _engine(connection: database.Connection) -> list[Finding]:
    """Look at what the engine needs: versions, workers, jobs that succeed, rollups in time."""
    software = await status.software(connection)
    engine = await engines.of(connection)
    lag_s = await engine.rollup_lag_s(connection)
    late = lag_s is not None and lag_s > ROLLUP_LATE_S
    findings = [
        Finding(
            check="rollups",
            ok=not late,
            detail=f"{lag_s:.0f} s behind" if lag_s is not None else "none yet",
        )
    ]
    if software.engine != "timescale":
        if software.offers:
            detail = f"{software.engine}; this server offers {software.offers}, see `db move`"
        else:
            detail = f"{software.engine} on PostgreSQL {software.server_version}"
        return [Finding(check="engine", ok=True, detail=detail), *findings]
    version = software.timescaledb_version or "0"
    least = ".".join(str(part) for part in timescale.VERSION_MIN)
    fits = timescale.is_recent(version) and software.edition.endswith("Community")
    failed = await connection.fetchval(FAILED_JOBS)
    return [
        Finding(
            check="engine",
            ok=fits,
            detail=f"{software.edition} {version}; needed is Community from {least}",
        ),
        workers(dict(await connection.fetchrow(WORKERS) or {})),
        Finding(check="jobs", ok=failed is None, detail=f"failed: {failed}" if failed else "well"),
        *findings,
    ]


def workers(row: Mapping[str, int]) -> Finding:
    """Compare workers with jobs: too few, and policies start late or never."""
    background = -(-row["jobs"] // JOBS_PER_WORKER)
    processes = 3 + max(background, row["background"]) + row["parallel"]
    wrong: list[str] = []
    if row["background"] < background:
        wrong.append(f"set timescaledb.max_background_workers to {background} or more")
    if row["processes"] < processes:
        wrong.append(f"set max_worker_processes to {processes} or more")
    if row["paused"]:
        wrong.append(f"{row['paused']} jobs are paused: alter_job(job_id, scheduled => true)")
    have = (
        f"{row['jobs']} jobs, timescaledb.max_background_workers {row['background']},"
        f" max_worker_processes {row['processes']}"
    )
    return Finding(check="workers", ok=not wrong, detail="; ".join([have, *wrong]))


def _gateway() -> Finding:
    """Ask the gateway on this machine whether it is ready."""
    listen = os.environ.get("HOSTPULSE_HTTP_LISTEN", "127.0.0.1:8080")
    answer = readiness.ask(listen, timeout_s=3.0)
    return Finding(check="gateway", ok=answer.ready, detail=answer.said)


@doctor_app.callback()
def doctor(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check database and gateway; exit 1 where something is wrong."""
    if context.invoked_subcommand is not None:
        return
    try:
        findings = [
            Finding(check="database", ok=True, detail="answers"),
            *asyncio.run(with_connection(_database)),
        ]
    except errors.HostpulseError as error:
        findings = [Finding(check="database", ok=False, detail=str(error))]
    findings.append(_gateway())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = "[green]ok[/green]   " if finding.ok else "[red]wrong[/red]"
            rich.print(f"{mark} {finding.check}: {escape(finding.detail)}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
