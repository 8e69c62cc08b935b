"""`hostpulse doctor`: what is wrong here, and what mends it."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Annotated

import rich
import typer

from cli import parked
from cli.connection import with_connection
from hostpulse import errors
from storage import database, maintenance, schema

doctor_app = typer.Typer(invoke_without_command=True)
doctor_app.command("parked")(parked.list_parked)
doctor_app.command("replay")(parked.replay)

MAINTENANCE_LATE_S = 4 * 3600.0

PARKED = "SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL"
SILENT = """
SELECT count(*) FROM server
WHERE watch_offline AND status = 'online' AND last_seen < now() - interval '3 minutes'
"""
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
    ]


def _gateway() -> Finding:
    """Ask the gateway on this machine whether it is ready."""
    url = f"http://{os.environ.get('HOSTPULSE_HTTP_LISTEN', '127.0.0.1:8080')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=3.0) as response:
            return Finding(check="gateway", ok=response.status == 200, detail=f"{url} is ready")
    except urllib.error.HTTPError as error:
        detail = error.read(500).decode(errors="replace")
        return Finding(check="gateway", ok=False, detail=f"{url} is not ready: {detail}")
    except OSError as error:
        return Finding(check="gateway", ok=False, detail=f"{url} does not answer: {error}")


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
            rich.print(f"{mark} {finding.check}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
