"""`hostpulse key`: make, list, rotate and revoke API keys, and make enrolment tokens."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import actor, with_connection
from collector_gateway import authority
from storage import enrollments, key_rotation, keys

if TYPE_CHECKING:
    from storage.database import Connection

keys_app = typer.Typer(help="API keys: who may send and who may read.", no_args_is_help=True)

EXPIRES = "90m, 12h, 30d, or a time with an offset, in the future"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TOKEN_LIFE = timedelta(hours=1)  # of a token, unless --expires says otherwise

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys_app.command("create")
def create(
    *,
    role: Annotated[keys.Role | None, typer.Option(help="What the key may do.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(help="Whose samples an agent or writer may send.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    expires: Annotated[str | None, typer.Option(help=f"When it ends: {EXPIRES}.")] = None,
    enroll: Annotated[
        bool, typer.Option("--enroll", help="Make a token for `hostpulse agent --enroll`.")
    ] = False,
    uses: Annotated[int | None, typer.Option(help="How many agents a token lets in.")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="The private authority of the gateways, a PEM file, for a token. Without it: what"
            " is at the end of HOSTPULSE_TLS_CERT, if that is a private authority."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, or an enrolment token, and print it, this one time."""
    if enroll != (role in {None, keys.Role.ENROLL}):
        raise typer.BadParameter("one of --role and --enroll must be given")
    if not enroll and (uses is not None or ca is not None):
        raise typer.BadParameter("--uses and --ca must be given with --enroll only")
    names = server or []
    if enroll and len(names) > 1:
        raise typer.BadParameter("--server must be given once at most with --enroll")
    now = datetime.now(UTC)
    expires_at = parse_expiry(expires, now=now) if expires is not None else None
    suffix = _authority_suffix(ca) if enroll else ""

    async def make(connection: Connection) -> str:
        if role is None:
            return await enrollments.create_token(
                connection,
                uses=1 if uses is None else uses,
                expires_at=expires_at or now + TOKEN_LIFE,
                server_name=names[0] if names else None,
                note=note,
                created_by=actor(),
            )
        return await keys.create(
            connection,
            role=role,
            server_names=names,
            note=note,
            created_by=actor(),
            expires_at=expires_at,
        )

    try:
        plaintext = asyncio.run(with_connection(make)) + suffix
    except keys.InvalidKey as error:
        raise typer.BadParameter(str(error)) from error
    kind = role or keys.Role.ENROLL
    if as_json:
        print(json.dumps({"key": plaintext, "prefix": plaintext.split("_")[1], "role": kind}))
        return
    print(plaintext)
    typer.echo("Keep it: only its hash is stored, it can't be shown again.", err=True)
    if enroll and not suffix:
        typer.echo(
            "It names no private authority: agents need HOSTPULSE_TLS_CA, or a gateway on their own"
            " machine.",
            err=True,
        )


@keys_app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List all keys; their secrets are not known any more."""
    found = asyncio.run(with_connection(keys.list_all))
    if as_json:
        print(json.dumps([keys.describe(key) for key in found]))
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
            state(key, now=now) + (f", {key.uses_left} uses left" if key.uses_left else ""),
        )
    Console().print(table)


@keys_app.command("rotate")
def rotate(
    prefix: Annotated[str, typer.Argument(help="As `key list` shows it.")],
    *,
    grace: Annotated[str, typer.Option(help="How long the old key stays good: 0s to 30d.")] = "0s",
    as_json: AsJson = False,
) -> None:
    """Make a key that may do what this one may, and print it; the old one ends after the grace."""
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", grace)
    if match is None:
        raise typer.BadParameter(f"--grace must be 0s, 90m, 12h or up to 30d, got {grace!r}")
    lasts = timedelta(seconds=int(match[1]) * SECONDS[match[2]])

    async def make(connection: Connection) -> tuple[str, keys.Key]:
        return await key_rotation.rotate(connection, prefix, grace=lasts, rotated_by=actor())

    try:
        plaintext, old = asyncio.run(with_connection(make))
    except (keys.InvalidKey, keys.UnknownKey) as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        made = {"key": plaintext, "prefix": keys.prefix_of(plaintext), "role": old.role}
        print(json.dumps({**made, "replaces": keys.describe(old)}))
        return
    print(plaintext)
    ends = old.expires_at.isoformat(timespec="seconds") if old.expires_at else ""
    typer.echo(f"Keep it: only its hash is stored. The old key, {prefix}, ends {ends}.", err=True)


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
        print(json.dumps(keys.describe(key)))
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


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _authority_suffix(file: Path | None) -> str:
    """Return what a token says of the gateways' private authority; empty where there is none.

    Raises:
        BadParameter: the file can't be used.
    """
    certificate = os.environ.get("HOSTPULSE_TLS_CERT")
    try:
        pem = file.read_bytes() if file else authority.read(certificate)
        return f".{authority.sha256(pem)}" if pem else ""
    except (OSError, ValueError) as error:
        name = f"--ca {file}" if file else f"HOSTPULSE_TLS_CERT {certificate}"
        raise typer.BadParameter(f"{name} must be a PEM file of certificates: {error}") from error
