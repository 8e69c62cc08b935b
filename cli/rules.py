"""`hostpulse rule`: see and edit the rules that alerts come from."""

from __future__ import annotations

import asyncio
import json

import typer
from rich.console import Console
from rich.table import Table

from alerting import rule_changes
from cli import rule_apply, rule_rows, rule_set, rule_test
from cli.connection import actor, with_connection
from hostpulse import errors

rules_app = typer.Typer(no_args_is_help=True, help="See and edit alert rules.")


@rules_app.command("list")
def list_rules(*, as_json: rule_rows.Json = False) -> None:
    """List all rules."""
    rows = asyncio.run(with_connection(rule_rows.load))
    if as_json:
        typer.echo(json.dumps(rows, default=str, indent=2))
        return
    table = Table("rule", "metric", "levels", "no data", "channels", "enabled")
    for row in rows:
        table.add_row(*rule_rows.cells(row))
    Console(markup=False).print(table)


@rules_app.command("show")
def show_rule(name: rule_rows.Name, *, as_json: rule_rows.Json = False) -> None:
    """Show one rule."""
    row = rule_rows.find(asyncio.run(with_connection(rule_rows.load)), name)
    if as_json:
        typer.echo(json.dumps(row, default=str, indent=2))
        return
    table = Table(show_header=False)
    for key, value in row.items():
        shown = json.dumps(value) if isinstance(value, dict | list) else str(value)
        table.add_row(key, shown)
    Console(markup=False).print(table)


rules_app.command("set")(rule_set.set_rule)
rules_app.command("apply")(rule_apply.apply_rules)
rules_app.command("test")(rule_test.try_rule)


@rules_app.command("enable")
def enable_rule(name: rule_rows.Name) -> None:
    """Let a rule watch again."""
    rule_set.switch(name, enabled=True)


@rules_app.command("disable")
def disable_rule(name: rule_rows.Name) -> None:
    """Stop a rule; what it has open is closed at the next evaluation."""
    rule_set.switch(name, enabled=False)


@rules_app.command("remove")
def remove_rule(name: rule_rows.Name) -> None:
    """Forget a rule that is disabled and has no open alerts; their history stays."""
    try:
        removed = asyncio.run(
            with_connection(lambda opened: rule_changes.remove(opened, name, by=actor()))
        )
    except errors.ConfigError as error:
        rule_rows.refuse(str(error))
    if not removed:
        rule_rows.refuse(f"there is no rule {name!r}")
    typer.echo(f"{name} is removed")
