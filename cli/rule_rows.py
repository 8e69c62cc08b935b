"""Rules as rows of `alert_rule`: read, found by name, and written for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from alerting import parsing, rules
from alerting.notifiers import rendering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

WRONG_INPUT = 2

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The rule's name.")]


async def load(opened: Connection) -> list[dict[str, object]]:
    """Read all rules by name."""
    return [dict(r) for r in await opened.fetch("SELECT * FROM alert_rule ORDER BY name")]


def find(rows: list[dict[str, object]], name: str) -> dict[str, object]:
    """Return the rule of this name, or refuse."""
    by_name = {str(row["name"]): row for row in rows}
    if name not in by_name:
        refuse(f"rule must be one of {', '.join(by_name)}, got {name!r}")
    return by_name[name]


def refuse(message: str) -> NoReturn:
    """Say what is wrong and end with status 2."""
    typer.echo(f"hostpulse rule: {message}", err=True)
    raise typer.Exit(WRONG_INPUT)


def levels_of(row: Mapping[str, object]) -> list[str]:
    """Write the levels of a rule for people."""
    try:
        rule = parsing.parse(row)
    except rules.InvalidRule as error:
        return [f"invalid: {error}"]
    unit = rules.unit(rule.metric)
    return [
        f"{level.severity} {rule.operator} {rendering.amount(level.threshold, unit)}"
        f" for {rendering.duration(level.for_s)}"
        for level in rule.levels
    ]


def cells(row: Mapping[str, object]) -> tuple[str, ...]:
    """Write one rule as a line of the table."""
    channels = row["channels"]
    assert isinstance(channels, list)  # noqa: S101 - text[]
    return (
        str(row["name"]),
        str(row["metric"]),
        "\n".join(levels_of(row)),
        str(row["no_data"]),
        ", ".join(channels) or "all",
        "yes" if row["enabled"] else "no",
    )
