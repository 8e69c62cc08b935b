"""`hostpulse silence`: keep alerts from being told, once or week by week."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from alerting import rule_files, silences
from alerting.notifiers import rendering
from alerting.rules import Selector
from cli.connection import actor, with_connection
from hostpulse import errors

if TYPE_CHECKING:
    from storage.database import Connection

silences_app = typer.Typer(no_args_is_help=True, help="Keep alerts from being told.")

WRONG_INPUT = 2

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@silences_app.command("add")
def add_silence(
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever wonders.")],
    lasts: Annotated[str, typer.Option("--for", help="How long, e.g. 2h or 7d.")],
    rule: Annotated[list[str] | None, typer.Option(help="Only of this rule; repeatable.")] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="Only of this server, or of those with label key=value; repeatable."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Only series with key=value; repeatable.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="When it begins (ISO 8601); else now.")] = None,
    on: Annotated[
        str | None, typer.Option(help="Recurring, on these days: daily, mon-fri, sat,sun.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Recurring: from this time, e.g. 22:00.")] = None,
    zone: Annotated[str, typer.Option(help="The time zone of --at, e.g. Europe/Berlin.")] = "UTC",
    until: Annotated[
        str | None, typer.Option(help="Recurring: the last moment (ISO 8601); else for good.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Who; else you.")] = None,
    as_json: Json = False,
) -> None:
    """Mute the alerts that all of --rule, --server and --label match; without any, all alerts."""
    try:
        begins = _moment("start", start) if start else datetime.now(UTC)
        lasts_s = rule_files.duration_s("for", lasts)
        recurrence = _recurrence(on, at, zone, lasts_s)
        if recurrence is None:
            ends = silences.end_of(begins, timedelta(seconds=lasts_s))
        else:
            ends = _moment("until", until) if until else silences.end_of(begins)
        names = tuple(each for each in server or () if "=" not in each)
        labels = dict(_pair("server", each) for each in server or () if "=" in each)
        filters: dict[str, tuple[str, ...]] = {}
        for key, value in (_pair("label", each) for each in label or ()):
            filters[key] = (*filters.get(key, ()), value)
        silence = silences.Silence(
            starts_at=begins,
            ends_at=ends,
            author=author or actor(),
            reason=reason,
            rule_names=tuple(rule or ()),
            selector=Selector(names=names, labels=labels),
            label_filter=filters,
            recurrence=recurrence,
        )
        silences.check(silence)
        number = asyncio.run(with_connection(lambda opened: _add(opened, silence)))
    except errors.ConfigError as error:
        _refuse(str(error))
    if as_json:
        typer.echo(json.dumps({"id": number, "ends_at": ends.isoformat()}))
    else:
        typer.echo(f"silence {number}: until {rendering.moment(ends)}")


@silences_app.command("list")
def list_silences(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: Json = False,
) -> None:
    """List the silences that are going on or to come."""
    found = asyncio.run(
        with_connection(lambda opened: silences.list_all(opened, everything=everything))
    )
    now = datetime.now(UTC)
    if as_json:
        typer.echo(json.dumps([silences.to_json(each, now) for each in found], indent=2))
        return
    if not found:
        typer.echo("No silences.")
        return
    table = Table("id", "mutes now", "what", "when", "author", "reason")
    for each in found:
        table.add_row(
            str(each.id),
            "yes" if each.is_active(now) else "no",
            silences.what(each),
            silences.when(each),
            each.author,
            each.reason,
        )
    Console(markup=False).print(table)


@silences_app.command("end")
def end_silence(
    number: Annotated[int, typer.Argument(help="Of `hostpulse silence list`.")],
) -> None:
    """End a silence now."""
    who = actor()
    if not asyncio.run(with_connection(lambda opened: silences.end(opened, number, who=who))):
        _refuse(f"silence must be one of `hostpulse silence list`, got {number}")
    typer.echo(f"silence {number} is over")


async def _add(opened: Connection, silence: silences.Silence) -> int:
    """Store a silence whose rules exist."""
    rows = await opened.fetch("SELECT name FROM alert_rule ORDER BY name")
    known = [str(row["name"]) for row in rows]
    for name in silence.rule_names:
        if name not in known:
            expectation = f"one of {', '.join(known)}"
            raise errors.ConfigError("rule", expectation=expectation, value=name)
    return await silences.add(opened, silence, by=actor())


def _recurrence(
    on: str | None, at: str | None, zone: str, lasts_s: float
) -> silences.Recurrence | None:
    """Read --on, --at and --zone, which go together."""
    if on is None and at is None:
        return None
    if on is None or at is None:
        raise errors.ConfigError("on", expectation="given together with --at", value=on or at)
    try:
        from_local = time.fromisoformat(at)
    except ValueError:
        raise errors.ConfigError("at", expectation="a time like 22:00", value=at) from None
    return silences.Recurrence(
        zone=zone, weekdays=silences.weekdays(on), from_local=from_local, lasts_s=round(lasts_s)
    )


def _moment(field: str, text: str) -> datetime:
    """Read a moment; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        expectation = "a moment like 2026-02-02T14:30Z"
        raise errors.ConfigError(field, expectation=expectation, value=text) from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _pair(field: str, text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise errors.ConfigError(field, expectation="key=value", value=text)
    return key, value


def _refuse(message: str) -> NoReturn:
    """Say what is wrong and end with status 2."""
    typer.echo(f"hostpulse silence: {message}", err=True)
    raise typer.Exit(WRONG_INPUT)
