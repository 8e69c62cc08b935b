"""`hostpulse key`: make, list and revoke API keys."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import actor, with_connection
from storage import keys

if TYPE_CHECKING:
    from storage.database import Connection

keys_app = typer.Typer(help="API keys: who may send and who may read.", no_args_is_help=True)

EXPIRES = "90m, 12h, 30d, or a time with an offset, in the future"
SECONDS = {"m": 60, "h": 3600, "d": 86_400}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys_app.command("create")
def create(
    *,
    role: Annotated[keys.Role, typer.Option(help="What the key may do.")],
    server: Annotated[
        list[str] | None, typer.Option(help="Whose samples an agent or writer may send.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    expires: Annotated[str | None, typer.Option(help=f"When it ends: {EXPIRES}.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this one time."""
    expires_at = parse_expiry(expires, now=datetime.now(UTC)) if expires is not None else None

    async def make(connection: Connection) -> str:
        return await keys.create(
            connection,
            role=role,
            server_names=server or (),
            note=note,
            created_by=actor(),
            expires_at=expires_at,
        )

    try:
        plaintext = asyncio.run(with_connection(make))
    except keys.InvalidKey as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print(json.dumps({"key": plaintext, "prefix": keys.prefix_of(plaintext), "role": role}))
        return
    print(plaintext)
    typer.echo("Keep it: only its hash is stored, it can't be shown again.", err=True)


@keys_app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List all keys; their secrets are not known any more."""
    found = asyncio.run(with_connection(keys.list_all))
    if as_json:
        print(json.dumps([describe(key) for key in found]))
        return
    table = Table("prefix", "role", "servers", "note", "created", "expires", "last used", "state")
    now = datetime.now(UTC)
    for key in found:
        table.add_row(
            key.prefix,
            key.role,
            escape(", ".join(key.server_names)),
            escape(key.note or ""),
            escape(f"{_minute(key.created_at)} by {key.created_by}"),
            _minute(key.expires_at),
            _minute(key.last_used_at),
            state(key, now=now),
        )
    Console().print(table)


@keys_app.command("revoke")
def revoke(
    prefix: Annotated[str, typer.Argument(help="As `key list` shows it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key worthless, within a second."""

    async def end(connection: Connection) -> keys.Key:
        return await keys.revoke(connection, prefix, revoked_by=actor())

    try:
        key = asyncio.run(with_connection(end))
    except keys.UnknownKey as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print(json.dumps(describe(key)))
    else:
        print(f"revoked {key.prefix} ({key.role})")


def parse_expiry(text: str, *, now: datetime) -> datetime:
    """Read when a key ends.

    Raises:
        typer.BadParameter: it is no time, or it is over.
    """
    moment = None
    if match := re.fullmatch(r"([0-9]{1,5})([mhd])", text):
        moment = now + timedelta(seconds=int(match[1]) * SECONDS[match[2]])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None or moment <= now:
        raise typer.BadParameter(f"--expires must be {EXPIRES}, got {text!r}")
    return moment


def state(key: keys.Key, *, now: datetime) -> str:
    """Say whether a key is good."""
    if key.revoked_at:
        return f"revoked {_minute(key.revoked_at)}"
    return "expired" if key.expires_at and key.expires_at <= now else "valid"


def describe(key: keys.Key) -> dict[str, object]:
    """Return a key as JSON."""
    moments = {
        name: moment.isoformat() if moment else None
        for name, moment in (
            ("created_at", key.created_at),
            ("expires_at", key.expires_at),
            ("last_used_at", key.last_used_at),
            ("revoked_at", key.revoked_at),
        )
    }
    return {
        "prefix": key.prefix,
        "role": key.role,
        "server_names": list(key.server_names),
        "note": key.note,
        "created_by": key.created_by,
        **moments,
    }


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
