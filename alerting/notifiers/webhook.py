"""Notifications as signed JSON to any address.

The body is signed with HMAC-SHA256 over `<timestamp>.<body>`; receivers compare

    X-Hostpulse-Signature: t=<unix seconds>,v1=<hex of the HMAC>

and refuse old timestamps. `Idempotency-Key` is the message's dedup key: the same in every attempt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Self

from alerting import notifications
from alerting.notifiers import rendering, webhooks
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerting.channels import Channel
    from alerting.notifications import Notification

SIGNATURE = "X-Hostpulse-Signature"
VERSION = 1


def body(notification: Notification) -> bytes:
    """Return the message as JSON, keys in order, so that the same message has the same bytes."""
    content = {
        "version": VERSION,
        "title": rendering.title(notification),
        "text": rendering.sentence(notification),
        **notifications.to_json(notification),
        "evidence": list(rendering.paragraphs(notification)),
    }
    return json.dumps(content, sort_keys=True).encode()


def sign(secret: str, timestamp: int, content: bytes) -> str:
    """Return the header's value."""
    signed = f"{timestamp}.".encode() + content
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class WebhookNotifier:
    """Posts signed JSON to one address."""

    def __init__(
        self, *, name: str, url: str, secret: str | None, now: Callable[[], float] = time.time
    ) -> None:
        webhooks.check_url(url)
        self.name = name
        self._url = url
        self._secret = secret
        self._now = now

    @classmethod
    def of_channel(cls, channel: Channel) -> Self:
        """Make the notifier of a stored channel, whose secret is `<key> <address>` or an address.

        Raises:
            Permanent: it has no usable address.
        """
        key, _, url = (channel.secret or "").rpartition(" ")
        try:
            return cls(name=channel.name, url=url, secret=key or None)
        except errors.ConfigError as error:
            raise errors.Permanent(f"channel {channel.name}: {error}") from error

    async def send(self, notification: Notification) -> None:
        """Post the message and wait for a 2xx."""
        content = body(notification)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "hostpulse",
            "Idempotency-Key": notification.dedup_key,
        }
        if self._secret is not None:
            headers[SIGNATURE] = sign(self._secret, int(self._now()), content)
        await webhooks.post("the webhook", self._url, content=content, headers=headers)
