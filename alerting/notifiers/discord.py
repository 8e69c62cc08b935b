"""Notifications to a Discord channel by incoming webhook.

Whoever knows the webhook's address can post: it is a secret and appears in no error.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from alerting.notifiers import rendering, webhooks
from hostpulse import errors

if TYPE_CHECKING:
    from alerting.channels import Channel
    from alerting.notifications import Notification

TITLE_MAX = 256  # the limits of an embed: title, description, a field's name and value, fields
DESCRIPTION_MAX = 4096
FIELD_NAME_MAX = 256
FIELD_VALUE_MAX = 1024
FIELDS_MAX = 25
CHART_NAME = "chart.png"


def embed(notification: Notification) -> dict[str, object]:
    """Return the message as the body of a webhook request."""
    fields = [
        {"name": name[:FIELD_NAME_MAX], "value": value[:FIELD_VALUE_MAX] or "-", "inline": True}
        for name, value in rendering.facts(notification)
    ]
    description = "\n".join(
        (
            rendering.sentence(notification),
            *(f"```\n{each}\n```" for each in rendering.paragraphs(notification)),
            *([f"[Acknowledge]({notification.ack_url})"] if notification.ack_url else []),
        )
    )
    image = {"image": {"url": f"attachment://{CHART_NAME}"}} if notification.chart else {}
    further = " · ".join(rendering.how_to_look(notification))
    return {
        "username": "hostpulse",
        "allowed_mentions": {"parse": list[str]()},  # a server called @everyone must not ping
        "embeds": [
            {
                "title": rendering.title(notification)[:TITLE_MAX],
                "description": description[:DESCRIPTION_MAX],
                "color": int(rendering.colour(notification).removeprefix("#"), 16),
                "fields": fields[:FIELDS_MAX],
                "timestamp": notification.at.isoformat(),
                "footer": {"text": further},
                **image,
            }
        ],
    }


class DiscordNotifier:
    """Posts to one webhook."""

    def __init__(self, *, name: str, url: str, deadline_s: float = webhooks.DEADLINE_S) -> None:
        webhooks.check_url(url)
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
        """Post the message, with its chart, and wait until Discord says that it is there."""
        body = embed(notification)
        wait = {"wait": "true"}
        if notification.chart is None:
            await webhooks.post(
                "the webhook", self._url, json=body, params=wait, deadline_s=self._deadline_s
            )
            return
        await webhooks.post(
            "the webhook",
            self._url,
            data={"payload_json": json.dumps(body)},
            files={"files[0]": (CHART_NAME, notification.chart, "image/png")},
            params=wait,
            deadline_s=self._deadline_s,
        )
