"""Channels: where notifications go, as they are stored and as notifiers get them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from hostpulse import errors
from storage import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

_USERS = """
    SELECT name FROM alert_rule
    WHERE $1 = ANY(channels) OR $1 = ANY(escalate_channels) ORDER BY name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel that can be sent to; `secret` is in clear and must not be shown.

    `smtp_url` is the mail server of the installation, which all e-mail channels share.
    """

    name: str
    kind: str
    config: Mapping[str, object]
    secret: str | None = field(default=None, repr=False)
    smtp_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChannel:
    """A channel as the database has it, its secret encrypted or elsewhere."""

    name: str
    kind: str
    config: Mapping[str, object]
    secret: bytes | None = field(default=None, repr=False)
    secret_env: str | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOpener:
    """Turns stored channels into such that can be sent to."""

    box: secrets.SecretBox
    environment: Mapping[str, str] = field(repr=False)
    smtp_url: str | None = field(default=None, repr=False)
    public_url: str | None = None

    def open(self, stored: StoredChannel) -> Channel:
        """Get the channel's secret.

        Raises:
            Retryable: the secret can't be had; an operator may put that right.
        """
        try:
            secret = secrets.resolve(
                self.box,
                stored=stored.secret,
                variable=stored.secret_env,
                environment=self.environment,
            )
        except (secrets.UnreadableSecret, secrets.MissingVariable) as error:
            raise errors.Retryable(str(error)) from error
        return Channel(
            name=stored.name,
            kind=stored.kind,
            config=stored.config,
            secret=secret,
            smtp_url=self.smtp_url,
        )


async def find(connection: Connection, name: str) -> StoredChannel | None:
    """Return the channel of this name; None if there is none."""
    found = [each for each in await list_all(connection) if each.name == name]
    return found[0] if found else None


async def list_all(connection: Connection) -> list[StoredChannel]:
    """Return all channels by name."""
    rows = await connection.fetch(
        "SELECT name, kind, config, secret, secret_env, enabled FROM channel ORDER BY name"
    )
    return [StoredChannel(**cast("dict[str, object]", dict(row))) for row in rows]  # pyright: ignore[reportArgumentType] - columns of the same names and types


async def add(connection: Connection, channel: StoredChannel) -> bool:
    """Store a new channel; False when its name is taken."""
    if await find(connection, channel.name) is not None:
        return False
    return bool(
        await connection.fetchval(
            "INSERT INTO channel (name, kind, config, secret, secret_env, enabled)"
            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING RETURNING true",
            channel.name,
            channel.kind,
            dict(channel.config),
            channel.secret,
            channel.secret_env,
            channel.enabled,
        )
    )


async def replace(connection: Connection, channel: StoredChannel) -> bool:
    """Store a channel in the place of the one of its name and kind; False when there is none."""
    return bool(
        await connection.fetchval(
            "UPDATE channel SET config = $3, secret = $4, secret_env = $5, enabled = $6"
            " WHERE name = $1 AND kind = $2 RETURNING true",
            channel.name,
            channel.kind,
            dict(channel.config),
            channel.secret,
            channel.secret_env,
            channel.enabled,
        )
    )


async def remove(connection: Connection, name: str) -> bool:
    """Forget a channel; what was not sent to it ends as failed. False when there is none.

    Raises:
        ConfigError: rules name it: their alerts would reach nobody.
    """
    async with connection.transaction():
        users = await connection.fetch(_USERS, name)
        if users:
            expectation = f"one that no rule names ({', '.join(row['name'] for row in users)})"
            raise errors.ConfigError("channel", expectation=expectation, value=name)
        return bool(
            await connection.fetchval("DELETE FROM channel WHERE name = $1 RETURNING true", name)
        )
