"""`hostpulse rule test`: what a rule would have done with the samples that are stored."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from alerting import backtest, parsing, rule_files, rules
from alerting.notifiers import rendering
from cli import rule_rows
from cli.connection import with_connection
from hostpulse import errors

if TYPE_CHECKING:
    from storage.database import Connection

EPISODES_SHOWN = 20


def try_rule(
    name: Annotated[str, typer.Argument(help="The rule's name.")],
    *,
    since: Annotated[str, typer.Option(help="How far back, e.g. 24h or 30d.")] = "7d",
    threshold: Annotated[
        list[float] | None,
        typer.Option(help="Try this threshold, not a few around the rule's own. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count how often and where a rule would have fired, and what other thresholds would give."""
    try:
        back = timedelta(seconds=rule_files.duration_s("since", since))
        others = None if threshold is None else backtest.read_thresholds(threshold)
        report = asyncio.run(with_connection(lambda opened: _run(opened, name, back, others)))
    except errors.ConfigError as error:
        rule_rows.refuse(str(error))
    if as_json:
        typer.echo(json.dumps(backtest.to_json(report), default=str, indent=2))
    else:
        _show(report)


async def _run(
    opened: Connection, name: str, back: timedelta, thresholds: list[float] | None
) -> backtest.Report:
    """Read the rule and look back, with a bar on a terminal."""
    row = await opened.fetchrow("SELECT * FROM alert_rule WHERE name = $1", name)
    if row is None:
        expectation = "one of `hostpulse rule list`"
        raise errors.ConfigError("rule", expectation=expectation, value=name)
    rule = parsing.parse(dict(row))
    end = datetime.now(UTC)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return await backtest.run(
            opened, rule, start=end - back, end=end, thresholds=thresholds, progress=tell
        )


def _show(report: backtest.Report) -> None:
    """Write a report for people."""
    unit = rules.unit(report.rule.metric)
    if report.begins_at is None:
        typer.echo("There are no samples in that time.")
        return
    own = report.rule.levels[0].threshold
    typer.echo(
        f"{report.rule.name}: from {rendering.moment(report.begins_at)}"
        f" to {rendering.moment(report.end)}"
    )
    if report.raw_from is None:
        typer.echo("From samples as they came: exact to one interval.")
    else:
        typer.echo(
            f"Before {rendering.moment(report.raw_from)} from minutes (least and most of each):"
            " exact to a minute, where no range is shown."
        )
    trials = Table("", "threshold", "firings", "firing for", "servers", "")
    for trial in report.trials:
        trials.add_row(
            "now" if trial.threshold == own else "",
            f"{report.rule.operator} {rendering.amount(trial.threshold, unit)}",
            _range(str(trial.firings), str(trial.firings_at_most), is_exact=trial.is_exact),
            _range(
                rendering.duration(trial.lasted_s),
                rendering.duration(trial.lasted_at_most_s),
                is_exact=trial.is_exact,
            ),
            str(trial.servers),
            "" if trial.is_exact else "approximate",
        )
    Console(markup=False).print(trials)
    if not report.episodes:
        return
    table = Table("fired", "ended", "severity", "server", "labels", "worst")
    for each in report.episodes[-EPISODES_SHOWN:]:
        table.add_row(
            rendering.moment(each.fired_at),
            rendering.moment(each.ended_at) if each.ended_at else "still firing",
            str(each.severity),
            each.server,
            ", ".join(f"{key}={label}" for key, label in each.labels.items()),
            rendering.amount(each.value, unit),
        )
    Console(markup=False).print(table)
    if (hidden := len(report.episodes) - EPISODES_SHOWN) > 0:
        typer.echo(f"… and {hidden} earlier ones (--json shows all)")


def _range(least: str, most: str, *, is_exact: bool) -> str:
    """Write what lies between two bounds."""
    return least if is_exact or least == most else f"{least} to {most}"
