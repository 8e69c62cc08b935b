"""`hostpulse channel set`, `enable`, `disable`: change where notifications go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from alerting import channel_forms, channels
from cli.channel_options import Name, box, refuse, refuse_fields, signed
from cli.connection import actor, with_connection
from hostpulse import errors
from storage import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storage.database import Connection

# The options of each kind.
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "email": ("--to", "--from"),
        "discord": ("--url",),
        "slack": ("--url", "--token", "--channel"),
        "pagerduty": ("--key",),
        "webhook": ("--url", "--key"),
    }
)
SETTINGS = MappingProxyType({"--to": "to", "--from": "from", "--channel": "channel"})


def set_channel(
    name: Name,
    *,
    to: Annotated[
        list[str] | None, typer.Option(help="E-mail: all addresses anew; repeatable.")
    ] = None,
    sender: Annotated[
        str | None, typer.Option("--from", help='E-mail: of whom; "" for the mail server\'s own.')
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Discord, Slack, webhook: the address, or env:NAME.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Slack: a bot's token, or env:NAME.")] = None,
    channel: Annotated[str | None, typer.Option(help="Slack: the channel's id, for a bot.")] = None,
    key: Annotated[
        str | None,
        typer.Option(help="PagerDuty: the routing key. Webhook, with --url: sign with this key."),
    ] = None,
) -> None:
    """Change a channel; what is not named stays as it is, its secret too."""
    given: dict[str, str | list[str]] = {
        option: value
        for option, value in (
            *(("--to", to), ("--from", sender), ("--url", url)),
            *(("--token", token), ("--channel", channel), ("--key", key)),
        )
        if value is not None
    }
    if not given:
        refuse("nothing to change: name at least one option")

    def changed(present: channels.StoredChannel) -> channels.StoredChannel:
        known = OPTIONS.get(present.kind, ())
        for option in given:
            if option not in known:
                refuse(f"{option} is not for a channel of kind {present.kind}: {', '.join(known)}")
        settings = {SETTINGS[each]: value for each, value in given.items() if each in SETTINGS}
        config = {**present.config, **settings}
        return channel_forms.read(
            name=name,
            kind=present.kind,
            config={setting: value for setting, value in config.items() if value != ""},
            secret=_secret(present.kind, url=url, token=token, key=key),
            enabled=present.enabled,
            box=box,
            present=present,
        )

    _change(name, changed)
    typer.echo(f"{name} is changed; try it with: hostpulse channel test {name}")


def enable_channel(name: Name) -> None:
    """Send to a channel again."""
    _change(name, lambda present: replace(present, enabled=True))
    typer.echo(f"{name} is enabled")


def disable_channel(name: Name) -> None:
    """Send nothing to a channel; what is still to be sent there is given up."""
    _change(name, lambda present: replace(present, enabled=False))
    typer.echo(f"{name} is disabled")


def _secret(kind: str, *, url: str | None, token: str | None, key: str | None) -> str | None:
    """Return what is to be the secret; None where it stays."""
    if kind == "webhook":
        if key is not None and url is None:
            refuse("--url must be given with --key: they are one secret")
        return None if url is None else signed(url, key)
    if url is not None and token is not None:
        refuse("only one of --url and --token may be given")
    return url or token or key


def _change(name: str, changed: Callable[[channels.StoredChannel], channels.StoredChannel]) -> None:
    """Replace a channel, and say so in the audit log, in one transaction."""

    async def work(opened: Connection) -> bool:
        async with opened.transaction():
            present = await channels.find(opened, name)
            if present is None:
                return False
            channel = changed(present)
            await channels.replace(opened, channel)
            detail = {"kind": channel.kind, "enabled": channel.enabled}
            await audit.record(
                opened, actor=actor(), action="channel.change", subject=name, detail=detail
            )
            return True

    try:
        found = asyncio.run(with_connection(work))
    except errors.ConfigError as error:
        refuse_fields(error, secret="its secret")  # noqa: S106 - a word
    if not found:
        refuse(f"channel must be one of `hostpulse channel list`, got {name!r}")
