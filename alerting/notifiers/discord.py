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
FIELD_NAME_MAX = 256
FIELD_VALUE_MAX = 1024
FIELDS_MAX = 25
# All texts of an embed together may have 6000 characters: 256 + 3200 + 2400, and the footer's.
SENTENCE_MAX = 500
TEXT_MAX = 3200
FIELDS_TEXT_MAX = 2400
FOOTER_MAX = 140
BLOCK_EXTRA = 10
CHART_NAME = "chart.png"


def embed(notification: Notification) -> dict[str, object]:
    """Return the message as the body of a webhook request."""
    fields: list[dict[str, object]] = [
        {"name": name[:FIELD_NAME_MAX], "value": value[:FIELD_VALUE_MAX] or "-", "inline": True}
        for name, value in rendering.facts(notification)
    ]
    link = [f"[Acknowledge]({notification.ack_url})"] if notification.ack_url else []
    sentence = rendering.sentence(notification)[:SENTENCE_MAX]
    # The link comes last and must not be cut off; a block that is cut must still be closed.
    left = TEXT_MAX - len(sentence) - sum(map(len, link))
    blocks: list[str] = []
    for each in rendering.paragraphs(notification):
        if left <= BLOCK_EXTRA:
            break
        text = each.replace("```", "~~~")[: left - BLOCK_EXTRA]
        blocks.append(f"```\n{text}\n```")
        left -= len(blocks[-1]) + 1
    description = "\n".join((sentence, *blocks, *link))
    image = {"image": {"url": f"attachment://{CHART_NAME}"}} if notification.chart else {}
    further = " · ".join(rendering.how_to_look(notification))
    return {
        "username": "hostpulse",
        "allowed_mentions": {"parse": list[str]()},  # a server called @everyone must not ping
        "embeds": [
            {
                "title": rendering.title(notification)[:TITLE_MAX],
                "description": description,
                "color": int(rendering.colour(notification).removeprefix("#"), 16),
                "fields": _fitting(fields),
                "timestamp": notification.at.isoformat(),
                "footer": {"text": further[:FOOTER_MAX]},
                **image,
            }
        ],
    }


def _fitting(fields: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return as many fields as fit into what an embed may say in all."""
    taken, length = list[dict[str, object]](), 0
    for each in fields[:FIELDS_MAX]:
        length += len(str(each["name"])) + len(str(each["value"]))
        if length > FIELDS_TEXT_MAX:
            break
        taken.append(each)
    return taken


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
