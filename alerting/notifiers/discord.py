"""Notifications to a Discord channel by incoming webhook.

Whoever knows the webhook's address can post: it is a secret and appears in no error.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx

from alerting.notifiers import rendering
from hostpulse import errors

if TYPE_CHECKING:
    from alerting.channels import Channel
    from alerting.notifications import Notification

TIMEOUT_S = 10.0
DEADLINE_S = 25.0  # for the whole exchange, however slowly it trickles
TITLE_MAX = 256  # the limits of an embed: title, description, a field's name and value, fields
DESCRIPTION_MAX = 4096
FIELD_NAME_MAX = 256
FIELD_VALUE_MAX = 1024
FIELDS_MAX = 25
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def check_url(url: str) -> None:
    """Refuse an address that can't be a webhook's.

    Raises:
        ConfigError: without the address, which is a secret.
    """
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
        )
    except ValueError:
        is_safe, parts = False, None
    if not is_safe or parts is None or not parts.hostname:
        raise errors.ConfigError("url", expectation="an https:// address", value="***")


def embed(notification: Notification) -> dict[str, object]:
    """Return the message as the body of a webhook request."""
    fields = [
        {"name": name[:FIELD_NAME_MAX], "value": value[:FIELD_VALUE_MAX] or "-", "inline": True}
        for name, value in rendering.facts(notification)
    ]
    further = " · ".join(rendering.how_to_look(notification))
    return {
        "username": "hostpulse",
        "allowed_mentions": {"parse": list[str]()},  # a server called @everyone must not ping
        "embeds": [
            {
                "title": rendering.title(notification)[:TITLE_MAX],
                "description": rendering.sentence(notification)[:DESCRIPTION_MAX],
                "color": int(rendering.colour(notification).removeprefix("#"), 16),
                "fields": fields[:FIELDS_MAX],
                "timestamp": notification.at.isoformat(),
                "footer": {"text": further},
            }
        ],
    }


class DiscordNotifier:
    """Posts to one webhook."""

    def __init__(self, *, name: str, url: str, deadline_s: float = DEADLINE_S) -> None:
        check_url(url)
        # httpx logs the address of every request at INFO, and this one is a secret.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.name = name
        self._url = url
        self._deadline_s = deadline_s

    @classmethod
    def of_channel(cls, channel: Channel) -> Self:
        """Make the notifier of a stored channel.

        Raises:
            Permanent: it has no usable address.
        """
        try:
            return cls(name=channel.name, url=channel.secret or "")
        except errors.ConfigError as error:
            raise errors.Permanent(f"channel {channel.name}: {error}") from error

    async def send(self, notification: Notification) -> None:
        """Post the message and wait until Discord says that it is there."""
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                httpx.AsyncClient(timeout=TIMEOUT_S) as client,
            ):
                response = await client.post(
                    self._url, params={"wait": "true"}, json=embed(notification)
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            # Some of httpx's errors print the address: only the kind of error is told.
            raise errors.Retryable(f"the webhook did not answer: {type(error).__name__}") from None
        if response.is_success:
            return
        text = f"the webhook answered {response.status_code}"
        if response.status_code in {408, 425, 429} or response.status_code >= 500:
            raise errors.Retryable(text, after_s=_retry_after_s(response))
        raise errors.Permanent(text)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Read how long to wait; None where nothing usable is said."""
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
