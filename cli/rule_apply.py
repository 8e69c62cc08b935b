"""`hostpulse rule apply`: make the rules as TOML files say."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from alerting import rule_changes, rule_files
from cli import rule_rows
from cli.connection import actor, with_connection
from hostpulse import errors

SIGNS = {"added": "+", "changed": "~", "unchanged": " "}


def apply_rules(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Holds *.toml files.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the difference, change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the rules as the files say, all or none; rules that no file names stay as they are."""
    try:
        wanted = rule_files.read(directory)
        plan = asyncio.run(
            with_connection(
                lambda opened: rule_changes.apply(opened, wanted, dry_run=dry_run, by=actor())
            )
        )
    except errors.ConfigError as error:
        rule_rows.refuse(str(error))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(plan), default=str, indent=2))
        return
    for line in lines(plan):
        typer.echo(line)
    if plan.is_empty:
        typer.echo("Nothing to change.")
    else:
        typer.echo("Nothing was changed: this was a dry run." if dry_run else "Applied.")


def lines(plan: rule_changes.Plan) -> list[str]:
    """Write the difference for people."""
    written: list[str] = []
    for change in plan.rules:
        if change.kind is rule_changes.Kind.UNCHANGED:
            continue
        written.append(f"{SIGNS[change.kind]} {change.name}")
        for field in change.fields:
            if change.kind is rule_changes.Kind.CHANGED:
                written.append(f"    - {field.field} = {_shown(field.before)}")
            written.append(f"    + {field.field} = {_shown(field.after)}")
    for sign, pairs in (("+", plan.inhibitions_added), ("-", plan.inhibitions_removed)):
        written += [f"{sign} {source} mutes {target}" for source, target in pairs]
    return written


def _shown(value: object) -> str:
    return json.dumps(value, default=str)
