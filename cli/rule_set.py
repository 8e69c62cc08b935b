"""`hostpulse rule set`, `enable` and `disable`: change one rule, checked as a whole."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

from alerting import parsing, rule_files, rules
from cli import rule_rows
from cli.connection import actor, with_connection
from hostpulse import errors
from storage import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

EDITABLE = (
    "metric",
    "operator",
    "levels",
    "recovery_threshold",
    "no_data",
    "channels",
    "repeat_interval_s",
    "keep_firing_for_s",
    "server_selector",
    "annotations",
    "enabled",
)


def set_rule(
    name: rule_rows.Name,
    *,
    level: Annotated[
        list[str] | None,
        typer.Option(
            help="severity:threshold:for, e.g. warning:80:5m; severity:none drops it. Repeatable."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="A metric of the catalog.")] = None,
    operator: Annotated[str | None, typer.Option(help=">, >=, < or <=.")] = None,
    recovery: Annotated[
        str | None, typer.Option(help="The value at which it is over; none: the threshold.")
    ] = None,
    no_data: Annotated[str | None, typer.Option(help="keep, ok or alert.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Names, comma-separated; empty: every channel.")
    ] = None,
    repeat: Annotated[str | None, typer.Option(help="Say it again after, e.g. 4h.")] = None,
    keep_firing: Annotated[
        str | None, typer.Option(help="Hold it firing until it was well for, e.g. 5m.")
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="Only servers of this name or label key=value; all: no limit."),
    ] = None,
    runbook: Annotated[
        str | None, typer.Option(help="A link to what to do; none drops it.")
    ] = None,
    as_json: rule_rows.Json = False,
) -> None:
    """Change a rule; what is not given stays. It takes effect at the next evaluation."""
    try:
        changes: dict[str, object] = {}
        if metric is not None:
            changes["metric"] = rules.metric_name(metric)
        if operator is not None:
            changes["operator"] = operator
        if recovery is not None:
            changes["recovery_threshold"] = (
                None if recovery == "none" else _number("recovery", recovery)
            )
        if no_data is not None:
            changes["no_data"] = no_data
        if channels is not None:
            changes["channels"] = [each.strip() for each in channels.split(",") if each.strip()]
        if repeat is not None:
            changes["repeat_interval_s"] = round(rule_files.duration_s("repeat", repeat))
        if keep_firing is not None:
            changes["keep_firing_for_s"] = round(rule_files.duration_s("keep-firing", keep_firing))
        if server is not None:
            changes["server_selector"] = _selector(server)
        row = _change_now(name, changes, level, runbook)
    except errors.ConfigError as error:
        rule_rows.refuse(str(error))
    if as_json:
        typer.echo(json.dumps(row, default=str, indent=2))
    else:
        typer.echo(f"{name}: {'; '.join(rule_rows.levels_of(row))}")


def switch(name: str, *, enabled: bool) -> None:
    """Turn a rule on or off."""
    try:
        _change_now(name, {"enabled": enabled})
    except errors.ConfigError as error:
        rule_rows.refuse(str(error))
    typer.echo(f"{name} is {'enabled' if enabled else 'disabled'}")


def parse_level(text: str) -> tuple[rules.Severity, dict[str, object] | None]:
    """Read `warning:80:5m`; `warning:none` is None.

    Raises:
        ConfigError: it is none.
    """
    severity_text, _, rest = text.partition(":")
    try:
        severity = rules.Severity(severity_text)
    except ValueError:
        expectation = f"severity:threshold:for with {' or '.join(rules.Severity)}"
        raise errors.ConfigError("level", expectation=expectation, value=text) from None
    if rest == "none":
        return severity, None
    threshold, separator, lasting = rest.partition(":")
    if not separator:
        expectation = "severity:threshold:for, e.g. warning:80:5m"
        raise errors.ConfigError("level", expectation=expectation, value=text)
    return severity, {
        "severity": str(severity),
        "threshold": _number("threshold", threshold),
        "for_s": rule_files.duration_s("for", lasting),
    }


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise errors.ConfigError(field, expectation="a number", value=text) from None


def _change_now(
    name: str,
    changes: Mapping[str, object],
    levels: list[str] | None = None,
    runbook: str | None = None,
) -> dict[str, object]:
    """Change a rule; see `_change`."""
    return asyncio.run(
        with_connection(lambda opened: _change(opened, name, changes, levels or [], runbook))
    )


async def _change(
    opened: Connection,
    name: str,
    changes: Mapping[str, object],
    levels: list[str],
    runbook: str | None,
) -> dict[str, object]:
    """Validate the changed rule as a whole and store it.

    Raises:
        ConfigError: the rule would be wrong; nothing is stored.
    """
    async with opened.transaction():
        rows = await opened.fetch("SELECT * FROM alert_rule ORDER BY name FOR UPDATE")
        row = rule_rows.find([dict(each) for each in rows], name) | dict(changes)
        if levels:
            row["levels"] = _merged(row["levels"], levels)
        if runbook is not None:
            row["annotations"] = _with_runbook(row["annotations"], runbook)
        parsing.parse(row)
        await _check_channels(opened, row["channels"])
        columns = ", ".join(f"{column} = ${n}" for n, column in enumerate(EDITABLE, start=2))
        await opened.execute(
            f"UPDATE alert_rule SET {columns}, edited_at = now() WHERE name = $1",  # noqa: S608 - constants
            name,
            *(row[column] for column in EDITABLE),
        )
        given = {"levels": levels} if levels else {}
        given |= {"runbook": runbook} if runbook is not None else {}
        await audit.record(
            opened,
            actor=actor(),
            action="rule.set",
            subject=name,
            detail={**changes, **given},
        )
    return row


def _with_runbook(annotations: object, runbook: str) -> dict[str, object]:
    """Set or drop the link to what to do."""
    texts = dict(cast("Mapping[str, object]", annotations))
    texts.pop(rules.RUNBOOK, None)
    return texts if runbook == "none" else texts | {rules.RUNBOOK: runbook}


def _selector(texts: list[str]) -> dict[str, object]:
    """Read names and `key=value` labels; `all` is no limit."""
    wanted = [text for text in texts if text != "all"]
    labels = dict(text.split("=", 1) for text in wanted if "=" in text)
    names = [text for text in wanted if "=" not in text]
    parts: dict[str, object] = {"names": names, "labels": labels}
    return {key: value for key, value in parts.items() if value}


def _merged(present: object, texts: list[str]) -> list[dict[str, object]]:
    """Replace, add or drop levels by severity."""
    assert isinstance(present, list)  # noqa: S101 - a CHECK of the table
    merged: dict[str, dict[str, object]] = {each["severity"]: each for each in present}
    for text in texts:
        severity, level = parse_level(text)
        merged.pop(severity, None)
        if level is not None:
            merged[severity] = level
    return list(merged.values())


async def _check_channels(opened: Connection, wanted: object) -> None:
    """Refuse channels that do not exist."""
    assert isinstance(wanted, list)  # noqa: S101 - text[]
    known = [row["name"] for row in await opened.fetch("SELECT name FROM channel ORDER BY name")]
    for channel in wanted:
        if channel not in known:
            expectation = f"names of channels ({', '.join(known) or 'there are none'})"
            raise errors.ConfigError("channels", expectation=expectation, value=channel)
