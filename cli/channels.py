"""`hostpulse channel`: where notifications go."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from alerting import channel_forms, channel_tests, channels
from alerting.notifiers import NOTIFIERS, email, slack
from cli import channel_changes
from cli.channel_options import Name, box, refuse, refuse_fields, signed
from cli.connection import actor, with_connection
from hostpulse import errors
from storage import audit, secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

channels_app = typer.Typer(no_args_is_help=True, help="Say where notifications go.")
add_app = typer.Typer(no_args_is_help=True, help="Add a channel.")
channels_app.add_typer(add_app, name="add")
channels_app.command("set")(channel_changes.set_channel)
channels_app.command("enable")(channel_changes.enable_channel)
channels_app.command("disable")(channel_changes.disable_channel)

FAILED = 1


@channels_app.command("list")
def list_channels(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the channels; secrets are never shown."""
    found = asyncio.run(with_connection(channels.list_all))
    rows = [
        {
            "name": each.name,
            "kind": each.kind,
            "config": dict(each.config),
            "secret": channel_forms.where_secret_is(each),
            "enabled": each.enabled,
        }
        for each in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        typer.echo("No channels. Add one with: hostpulse channel add email NAME --to a@example.org")
        return
    table = Table("channel", "kind", "settings", "secret", "enabled")
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["kind"]),
            json.dumps(row["config"]),
            str(row["secret"] or ""),
            "yes" if row["enabled"] else "no",
        )
    Console(markup=False).print(table)


@add_app.command("email")
def add_email(
    name: Name,
    *,
    to: Annotated[list[str], typer.Option(help="An address; repeatable.")],
    sender: Annotated[
        str | None, typer.Option("--from", help="Instead of the one in HOSTPULSE_SMTP_URL.")
    ] = None,
) -> None:
    """Send e-mails, through the server that HOSTPULSE_SMTP_URL of the alert worker names."""
    config: dict[str, object] = {"to": to}
    if sender is not None:
        config["from"] = sender
    _add("email", name, None, config)


@add_app.command("discord")
def add_discord(
    name: Name,
    *,
    url: Annotated[
        str,
        typer.Option(help="The webhook's address, or env:NAME of a variable that holds it."),
    ],
) -> None:
    """Post to a Discord channel by incoming webhook."""
    _add("discord", name, url)


@add_app.command("slack")
def add_slack(
    name: Name,
    *,
    url: Annotated[
        str | None,
        typer.Option(help="An incoming webhook's address, or env:NAME of a variable."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Instead: a bot's token (xoxb-…), or env:NAME.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="With a token: the id of the channel, e.g. C0123456789.")
    ] = None,
) -> None:
    """Post to Slack by incoming webhook, or as a bot, which updates its own message."""
    if (url is None) == (token is None):
        refuse("one of --url and --token must be given")
    if token is not None:
        if not channel:
            refuse("--channel must be given with --token")
        if not token.startswith((*slack.TOKEN_PREFIXES, secrets.ENV_PREFIX)):
            refuse("--token must be a bot's token (xoxb-…), or env:NAME")
        _add("slack", name, token, {"channel": channel}, option="--token")
    elif url is not None:
        _add("slack", name, url)


@add_app.command("pagerduty")
def add_pagerduty(
    name: Name,
    *,
    key: Annotated[
        str, typer.Option(help="The integration's routing key (Events API v2), or env:NAME.")
    ],
) -> None:
    """Open, and close, PagerDuty incidents."""
    _add("pagerduty", name, key, option="--key")


@add_app.command("webhook")
def add_webhook(
    name: Name,
    *,
    url: Annotated[
        str,
        typer.Option(help='An address, or env:NAME of a variable with it or "<key> <address>".'),
    ],
    key: Annotated[str | None, typer.Option(help="Sign with this key (HMAC-SHA256).")] = None,
) -> None:
    """Post signed JSON to any address."""
    _add("webhook", name, signed(url, key))


@channels_app.command("test")
def test_channel(name: Name) -> None:
    """Really send a message, from here, with this command's environment."""
    try:
        asyncio.run(_send_test(name))
    except (errors.Retryable, errors.Permanent, errors.ConfigError) as error:
        typer.echo(f"hostpulse channel: {name}: {error}", err=True)
        raise typer.Exit(FAILED) from None
    typer.echo(f"A test message was sent to {name}.")


@channels_app.command("remove")
def remove_channel(name: Name) -> None:
    """Forget a channel; what is still to be sent there is given up."""
    try:
        removed = asyncio.run(with_connection(lambda opened: _remove(opened, name)))
    except errors.ConfigError as error:
        refuse(str(error))
    if not removed:
        refuse(f"channel must be one of `hostpulse channel list`, got {name!r}")
    typer.echo(f"{name} is removed")


def _add(
    kind: str,
    name: str,
    secret: str | None,
    config: Mapping[str, object] | None = None,
    *,
    option: str = "--url",
) -> None:
    """Store a channel whose secret is given, to be encrypted, or named as a variable."""
    try:
        channel = channel_forms.read(
            name=name, kind=kind, config=config or {}, secret=secret, box=box
        )
    except errors.ConfigError as error:
        refuse_fields(error, secret=option)
    if not asyncio.run(with_connection(lambda opened: _store(opened, channel))):
        refuse(f"name must be new, got {channel.name!r}, which exists")
    typer.echo(f"{channel.name} is added; try it with: hostpulse channel test {channel.name}")


async def _store(opened: Connection, channel: channels.StoredChannel) -> bool:
    """Add a channel, and say so in the audit log."""
    async with opened.transaction():
        added = await channels.add(opened, channel)
        if added:
            detail = {"kind": channel.kind, "enabled": channel.enabled}
            await audit.record(
                opened, actor=actor(), action="channel.add", subject=channel.name, detail=detail
            )
    return added


async def _remove(opened: Connection, name: str) -> bool:
    """Forget a channel, and say so in the audit log."""
    async with opened.transaction():
        removed = await channels.remove(opened, name)
        if removed:
            await audit.record(opened, actor=actor(), action="channel.remove", subject=name)
    return removed


async def _send_test(name: str) -> None:
    """Send a test message to one channel."""

    async def find(opened: Connection) -> channels.StoredChannel | None:
        found = await channels.find(opened, name)
        if found is not None:
            await audit.record(opened, actor=actor(), action="channel.test", subject=name)
        return found

    stored = await with_connection(find)
    if stored is None:
        raise errors.ConfigError("channel", expectation="one that exists", value=name)
    smtp_url = os.environ.get(email.FIELD) or None
    opener = channels.ChannelOpener(box=box(), environment=os.environ, smtp_url=smtp_url)
    if stored.kind not in NOTIFIERS:
        raise errors.Permanent(f"this version knows no channels of kind {stored.kind}")
    await NOTIFIERS[stored.kind](opener.open(stored)).send(channel_tests.sample(datetime.now(UTC)))
