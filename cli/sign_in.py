"""`hostpulse sign-in`: a new one-time link to the web page."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from cli import links
from cli.connection import actor, with_connection
from hostpulse import errors
from storage import keys, location, web_sessions

if TYPE_CHECKING:
    from storage.database import Connection

ADDRESS = "127.0.0.1:8080"


class KeyCannotSignIn(errors.HostpulseError):
    """The key can't sign in."""


def sign_in(
    key: Annotated[
        str | None, typer.Option(help="Prefix of the key to sign in as; else that of admin.key.")
    ] = None,
) -> None:
    """Print a link that signs in to the web page once, within 15 minutes."""
    prefix = key or _admin_prefix()
    token = web_sessions.new_token()

    async def add(connection: Connection) -> bool:
        return await web_sessions.add_link(connection, token, key_prefix=prefix, made_by=actor())

    if not asyncio.run(with_connection(add)):
        raise KeyCannotSignIn(
            f"key {prefix} can't sign in: expected one of role admin or reader that is not revoked"
        )
    address = os.environ.get("HOSTPULSE_PUBLIC_URL") or os.environ.get("HOSTPULSE_HTTP_LISTEN")
    print(links.sign_in(address or ADDRESS, token))


def _admin_prefix() -> str:
    """Return the prefix of the key that `hostpulse up` made.

    Raises:
        ConfigError: there is none here.
    """
    file = location.data_dir() / "admin.key"
    try:
        prefix = keys.prefix_of(file.read_text(encoding="utf-8").strip())
    except OSError:
        prefix = None
    if prefix is None:
        raise errors.ConfigError("--key", expectation=f"given, where {file} is not there", value="")
    return prefix
