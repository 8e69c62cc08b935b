"""`hostpulse channel`: where notifications go."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from alerting import channels, notifications, rules
from alerting.notifiers import NOTIFIERS, email, pagerduty, slack, webhooks
from cli.connection import actor, with_connection
from hostpulse import errors
from storage import audit, location, secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storage.database import Connection

channels_app = typer.Typer(no_args_is_help=True, help="Say where notifications go.")
add_app = typer.Typer(no_args_is_help=True, help="Add a channel.")
channels_app.add_typer(add_app, name="add")

WRONG_INPUT = 2
FAILED = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

Name = Annotated[str, typer.Argument(help="Letters, digits, dot, dash, underscore.")]


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
            "secret": _shown_secret(each),
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
    Console().print(table)


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
    for field, address in [*(("--to", each) for each in to), ("--from", sender)]:
        if address is not None and not _is_address(address):
            _refuse(f"{field} must be an e-mail address, got {address!r}")
    config: dict[str, object] = {"to": to}
    if sender is not None:
        config["from"] = sender
    _add(channels.StoredChannel(name=name, kind="email", config=config))


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
    _add_secret("discord", name, url, webhooks.check_url)


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
        _refuse("one of --url and --token must be given")
    if token is not None:
        if not channel:
            _refuse("--channel must be given with --token")
        _add_secret("slack", name, token, _check_token, {"channel": channel})
    elif url is not None:
        _add_secret("slack", name, url, webhooks.check_url)


@add_app.command("pagerduty")
def add_pagerduty(
    name: Name,
    *,
    key: Annotated[
        str, typer.Option(help="The integration's routing key (Events API v2), or env:NAME.")
    ],
) -> None:
    """Open, and close, PagerDuty incidents."""
    _add_secret("pagerduty", name, key, _check_routing_key)


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
    if key is not None and (" " in key or url.startswith(secrets.ENV_PREFIX)):
        _refuse('--key must be without blanks, and inside of the variable with env: ("key url")')
    text = f"{key} {url}" if key else url
    _add_secret("webhook", name, text, lambda each: webhooks.check_url(each.rpartition(" ")[2]))


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
    if not asyncio.run(with_connection(lambda opened: _remove(opened, name))):
        _refuse(f"channel must be one of `hostpulse channel list`, got {name!r}")
    typer.echo(f"{name} is removed")


def _add(channel: channels.StoredChannel) -> None:
    """Store a channel, or refuse its name."""
    if not NAME.fullmatch(channel.name):
        expectation = "1 to 63 letters, digits, dots, dashes or underscores"
        _refuse(f"name must be {expectation}, got {channel.name!r}")
    if not asyncio.run(with_connection(lambda opened: _store(opened, channel))):
        _refuse(f"name must be new, got {channel.name!r}, which exists")
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


def _add_secret(
    kind: str,
    name: str,
    secret: str,
    check: Callable[[str], None],
    config: Mapping[str, object] | None = None,
) -> None:
    """Store a channel whose secret is given, to be encrypted, or named as a variable."""
    settings = dict(config or {})
    if secret.startswith(secrets.ENV_PREFIX):
        variable = secret.removeprefix(secrets.ENV_PREFIX)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            _refuse(f"the secret must be env: and the name of a variable, got {secret!r}")
        _add(channels.StoredChannel(name=name, kind=kind, config=settings, secret_env=variable))
        return
    try:
        check(secret)
        stored = _box().encrypt(secret)
    except errors.ConfigError as error:
        _refuse(str(error))
    _add(channels.StoredChannel(name=name, kind=kind, config=settings, secret=stored))


def _check_token(token: str) -> None:
    """Refuse what is no bot's token."""
    if not token.startswith(slack.TOKEN_PREFIXES):
        raise errors.ConfigError("token", expectation="a bot's token (xoxb-…)", value="***")


def _check_routing_key(key: str) -> None:
    """Refuse what is no routing key."""
    if not pagerduty.ROUTING_KEY.fullmatch(key):
        expectation = "32 letters and digits"
        raise errors.ConfigError("key", expectation=expectation, value="***")


def _box() -> secrets.SecretBox:
    """Return the keys that this installation encrypts with."""
    return secrets.SecretBox.load(os.environ, location.data_dir())


def _is_address(text: str) -> bool:
    """Whether this is one e-mail address."""
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, errors.HostpulseError):
        return False
    return bool(address.username and address.domain)


def _shown_secret(channel: channels.StoredChannel) -> str | None:
    """Say where a secret is, never what it is."""
    if channel.secret_env is not None:
        return f"{secrets.ENV_PREFIX}{channel.secret_env}"
    return "stored, encrypted" if channel.secret is not None else None


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
    opener = channels.ChannelOpener(box=_box(), environment=os.environ, smtp_url=smtp_url)
    now = datetime.now(UTC)
    key = f"hostpulse-test-{now:%Y%m%d%H%M%S%f}"
    sample = notifications.Notification(
        kind=notifications.Kind.TEST,
        dedup_key=key,
        thread=key,
        rule="cpu_usage",
        metric="cpu.usage_percent",
        unit="percent",
        operator=">",
        severity=rules.Severity.WARNING,
        threshold=80.0,
        for_s=300.0,
        at=now,
        server="example-server",
        value=91.5,
    )
    if stored.kind not in NOTIFIERS:
        raise errors.Permanent(f"this version knows no channels of kind {stored.kind}")
    await NOTIFIERS[stored.kind](opener.open(stored)).send(sample)


def _refuse(message: str) -> NoReturn:
    """Say what is wrong and end with status 2."""
    typer.echo(f"hostpulse channel: {message}", err=True)
    raise typer.Exit(WRONG_INPUT)
