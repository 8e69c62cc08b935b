"""What the commands about channels share: options, the keys that encrypt, how errors are worded."""

from __future__ import annotations

import os
from typing import Annotated, NoReturn

import typer

from hostpulse import errors
from storage import location, secrets

WRONG_INPUT = 2

Name = Annotated[str, typer.Argument(help="Letters, digits, dot, dash, underscore.")]


def signed(url: str, key: str | None) -> str:
    """Return the secret of a webhook: an address, behind the key that signs if there is one."""
    if key is None:
        return url
    if " " in key or url.startswith(secrets.ENV_PREFIX):
        refuse('--key must be without blanks, and inside of the variable with env: ("key url")')
    return f"{key} {url}"


def box() -> secrets.SecretBox:
    """Return the keys that this installation encrypts with."""
    return secrets.SecretBox.load(os.environ, location.data_dir())


def refuse_fields(error: errors.ConfigError, *, secret: str) -> NoReturn:
    """Say what is wrong, by the names of the options; `secret` is that of the secret's."""
    named = {"secret": secret, "config.to": "--to", "config.from": "--from"}
    named["config.channel"] = "--channel"
    field = named.get(error.field, error.field)
    refuse(str(errors.ConfigError(field, expectation=error.expectation, value=error.value)))


def refuse(message: str) -> NoReturn:
    """Say what is wrong and end with status 2."""
    typer.echo(f"hostpulse channel: {message}", err=True)
    raise typer.Exit(WRONG_INPUT)
