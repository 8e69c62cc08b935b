"""`hostpulse alert`: what is wrong now, and what was."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from alerting.notifiers import rendering
from alerting.rules import OFFLINE_METRIC, unit
from cli.connection import with_connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

alerts_app = typer.Typer(no_args_is_help=True)

STATES = ("firing", "no_data", "pending", "resolved", "ok")  # the most urgent first
_LIST = """
    SELECT a.id, r.name AS rule, r.metric, s.name AS server, a.labels, a.state, a.severity,
           a.value, a.run_started_at, a.fired_at, a.resolved_at, a.acknowledged_at,
           a.acknowledged_by
    FROM alert a JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN server s ON s.id = a.server_id
    WHERE $1 OR a.state IN ('pending', 'firing', 'no_data')
    ORDER BY array_position($2::text[], a.state), a.changed_at DESC, a.id
"""


@alerts_app.callback()
def alerts() -> None:
    """See alerts."""  # with one command only, typer would leave out its name


@alerts_app.command("list")
def list_alerts(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also alerts that are over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the alerts that are pending, firing or without data."""
    rows = asyncio.run(with_connection(lambda opened: _rows(opened, everything=everything)))
    if as_json:
        typer.echo(json.dumps(rows, default=str, indent=2))
        return
    if not rows:
        typer.echo("No alerts.")
        return
    table = Table("state", "severity", "rule", "server", "labels", "value", "since")
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)


async def _rows(opened: Connection, *, everything: bool) -> list[dict[str, object]]:
    """Read the alerts."""
    return [dict(row) for row in await opened.fetch(_LIST, everything, list(STATES))]


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """Write one alert for people."""
    metric, labels, value = row["metric"], row["labels"], row["value"]
    assert isinstance(metric, str)  # noqa: S101 - columns of these types
    assert isinstance(labels, dict)  # noqa: S101
    assert value is None or isinstance(value, float)  # noqa: S101
    is_fleet = metric == OFFLINE_METRIC and row["server"] is None
    since = row["run_started_at"] or row["resolved_at"]
    return (
        str(row["state"]),
        str(row["severity"] or ""),
        str(row["rule"]),
        "all servers" if is_fleet else str(row["server"] or "(forgotten)"),
        ", ".join(f"{key}={label}" for key, label in labels.items()),
        rendering.amount(value, unit(metric)),
        f"{since:%Y-%m-%d %H:%M:%S}" if since else "",
    )
