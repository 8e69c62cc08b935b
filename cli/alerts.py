"""`hostpulse alert`: what is wrong now, and what was."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from alerting import acknowledging, alert_log
from alerting.notifiers import rendering
from alerting.rules import OFFLINE_METRIC, unit
from cli.connection import actor, with_connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

alerts_app = typer.Typer(no_args_is_help=True)

WRONG_INPUT = 2
ANSWERS = {
    acknowledging.Answer.DONE: "acknowledged",
    acknowledging.Answer.ALREADY: "was acknowledged before",
    acknowledging.Answer.NOT_OPEN: "is not firing",
}
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


@alerts_app.command("ack")
def acknowledge_alert(
    number: Annotated[int, typer.Argument(help="Its id in `hostpulse alert list`.")],
) -> None:
    """Take an alert on: it is neither repeated nor escalated."""
    who = actor()
    answer = asyncio.run(
        with_connection(lambda opened: acknowledging.acknowledge(opened, number, who=who))
    )
    if answer is acknowledging.Answer.UNKNOWN:
        typer.echo("hostpulse alert: alert must be one of `hostpulse alert list`", err=True)
        raise typer.Exit(WRONG_INPUT)
    typer.echo(f"alert {number}: {ANSWERS[answer]}")


@alerts_app.command("history")
def show_history(
    number: Annotated[int, typer.Argument(help="Its id in `hostpulse alert list`.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what became of an alert, who was told, and if not, why."""
    rows = asyncio.run(with_connection(lambda opened: _history(opened, number)))
    if as_json:
        typer.echo(json.dumps(rows, default=str, indent=2))
        return
    table = Table("time", "change", "severity", "value", "decision", "reason", "told")
    for row in rows:
        detail = row["detail"]
        assert isinstance(detail, dict)  # noqa: S101 - a jsonb object
        table.add_row(
            f"{row['time']:%Y-%m-%d %H:%M:%S}",
            str(row["change"]),
            str(row["severity"] or ""),
            "" if row["value"] is None else f"{row['value']:g}",
            str(detail.get("decision", "")),
            str(detail.get("reason", detail.get("by", detail.get("cause", "")))),
            ", ".join(detail.get("notified", [])),
        )
    Console(markup=False).print(table)


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
    table = Table("id", "state", "severity", "rule", "server", "labels", "value", "since")
    for row in rows:
        table.add_row(*_cells(row))
    Console(markup=False).print(table)


async def _history(opened: Connection, number: int) -> list[dict[str, object]]:
    """Read the changes of an alert."""
    rows = await opened.fetch(
        "SELECT time, change, from_state, to_state, severity, value, firing_number, detail"
        " FROM alert_history WHERE alert_id = $1 ORDER BY id",
        number,
    )
    return [dict(row) for row in rows]


async def _rows(opened: Connection, *, everything: bool) -> list[dict[str, object]]:
    """Read the alerts."""
    return [dict(row) for row in await opened.fetch(_LIST, everything, list(alert_log.STATES))]


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """Write one alert for people."""
    metric, labels, value = row["metric"], row["labels"], row["value"]
    assert isinstance(metric, str)  # noqa: S101 - columns of these types
    assert isinstance(labels, dict)  # noqa: S101
    assert value is None or isinstance(value, float)  # noqa: S101
    is_fleet = metric == OFFLINE_METRIC and row["server"] is None
    since = row["run_started_at"] or row["resolved_at"]
    return (
        str(row["id"]),
        f"{row['state']}{' (acknowledged)' if row['acknowledged_at'] else ''}",
        str(row["severity"] or ""),
        str(row["rule"]),
        "all servers" if is_fleet else str(row["server"] or "(forgotten)"),
        ", ".join(f"{key}={label}" for key, label in labels.items()),
        rendering.amount(value, unit(metric)),
        f"{since:%Y-%m-%d %H:%M:%S}" if since else "",
    )
