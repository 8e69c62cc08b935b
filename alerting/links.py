"""Links that acknowledge: signed, so that a message is all that one needs, and for seven days.

A token is a Fernet token over the message's dedup key and an end of time, made with the keys that
encrypt channel secrets. What it acknowledges is looked up in the stored message.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hostpulse import errors
from storage import secrets

if TYPE_CHECKING:
    from alerting.notifications import Notification

LASTS = timedelta(days=7)
PATH = "/ack/"
TOKEN_MAX_CHARACTERS = 2000


class UnusableLink(errors.HostpulseError):
    """This link is no longer valid."""


def make(box: secrets.SecretBox, public_url: str, notification: Notification, now: datetime) -> str:
    """Return the link of a message."""
    content = {"k": notification.dedup_key, "e": int((now + LASTS).timestamp())}
    token = box.encrypt(json.dumps(content)).decode()
    return f"{public_url.rstrip('/')}{PATH}{token}"


def read(box: secrets.SecretBox, token: str, now: datetime) -> str:
    """Return the dedup key of the message that a token came with.

    Raises:
        UnusableLink: it was not made here, or is too old.
    """
    if len(token) > TOKEN_MAX_CHARACTERS:
        raise UnusableLink
    try:
        content = json.loads(box.decrypt(token.encode()))
        key, ends = str(content["k"]), float(content["e"])
    except (secrets.UnreadableSecret, ValueError, KeyError, TypeError) as error:
        raise UnusableLink from error
    if now.timestamp() >= ends:
        raise UnusableLink("This link has expired: it was valid for 7 days.")
    return key
