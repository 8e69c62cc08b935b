"""Notifications to PagerDuty: Events API v2 (trigger, acknowledge, resolve).

The `dedup_key` is the firing's own, so that whatever is said again, or in another order, belongs to
one incident. The routing key is a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from alerting.notifications import Kind
from alerting.notifiers import rendering, webhooks
from alerting.rules import RUNBOOK
from hostpulse import errors

if TYPE_CHECKING:
    from alerting.channels import Channel
    from alerting.notifications import Notification

API_URL = "https://events.pagerduty.com/v2/enqueue"
ROUTING_KEY = re.compile(r"[0-9a-zA-Z]{32}")
SUMMARY_MAX = 1024
ENDS = frozenset({Kind.RESOLVED, Kind.WITHDRAWN})


def action(notification: Notification) -> str:
    """Return what the event does to the incident."""
    closes = notification.kind in ENDS
    closes = closes or (notification.kind is Kind.NO_DATA and not notification.is_open)
    closes = closes or (notification.kind is Kind.DATA_RETURNED and not notification.is_open)
    if closes:
        return "resolve"
    return "acknowledge" if notification.kind is Kind.ACKNOWLEDGED else "trigger"


def event(notification: Notification, routing_key: str) -> dict[str, object]:
    """Return the body of an event."""
    n = notification
    links = [
        {"href": href, "text": text}
        for href, text in ((n.annotations.get(RUNBOOK), "Runbook"), (n.ack_url, "Acknowledge"))
        if href
    ]
    return {
        "routing_key": routing_key,
        "event_action": action(n),
        "dedup_key": n.thread,
        "client": "hostpulse",
        "payload": {
            "summary": f"{rendering.title(n)}: {rendering.sentence(n)}"[:SUMMARY_MAX],
            "source": n.server or "all servers",
            "severity": str(n.severity),
            "timestamp": n.at.isoformat(),
            "component": ", ".join(f"{k}={v}" for k, v in n.labels.items()) or n.metric,
            "group": n.server or "hostpulse",
            "class": n.rule,
            "custom_details": {
                **dict(rendering.facts(n)),
                **{f"More {i}": text for i, text in enumerate(rendering.paragraphs(n), start=1)},
            },
        },
        "links": links,
    }


class PagerDutyNotifier:
    """Sends events to one service."""

    def __init__(self, *, name: str, routing_key: str, url: str = API_URL) -> None:
        webhooks.check_url(url)
        if not ROUTING_KEY.fullmatch(routing_key):
            expectation = "32 letters and digits"
            raise errors.ConfigError("routing key", expectation=expectation, value="***")
        self.name = name
        self._routing_key = routing_key
        self._url = url

    @classmethod
    def of_channel(cls, channel: Channel) -> Self:
        """Make the notifier of a stored channel.

        Raises:
            Permanent: it has no usable routing key.
        """
        try:
            return cls(
                name=channel.name,
                routing_key=channel.secret or "",
                url=str(channel.config.get("url", API_URL)),
            )
        except errors.ConfigError as error:
            raise errors.Permanent(f"channel {channel.name}: {error}") from error

    async def send(self, notification: Notification) -> None:
        """Send the event; PagerDuty answers 202 when it has it, 400 when it never will."""
        await webhooks.post("PagerDuty", self._url, json=event(notification, self._routing_key))
