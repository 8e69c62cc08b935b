"""The ways to tell people: one class for each kind of channel.

A notifier has a `name` and `async send(notification)`. It returns when the other side took the
message, raises `Retryable` when it may work later and `Permanent` when it never will. Rendering is
separate and pure. Adding a kind is one file, one line in `NOTIFIERS` and one test.

No error may hold a secret: it is stored with the attempt and logged.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from alerting.notifiers import discord, email, pagerduty, slack, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alerting.channels import Channel
    from alerting.notifications import Notification

__all__ = ["NOTIFIERS", "Notifier", "UpdatingNotifier"]


class Notifier(Protocol):
    """Sends notifications to one channel."""

    @property
    def name(self) -> str:
        """The channel's name."""
        ...

    async def send(self, notification: Notification) -> None:
        """Deliver a message, within a bounded time.

        Raises:
            Retryable: it may work later.
            Permanent: it never will.
        """
        ...


@runtime_checkable
class UpdatingNotifier(Protocol):
    """Sends a firing's later messages into its first one."""

    async def send_after(
        self, notification: Notification, posted: Mapping[str, str] | None
    ) -> Mapping[str, str]:
        """Deliver a message as `send` does; return where it is, for the next one of its thread."""
        ...


NOTIFIERS: Mapping[str, Callable[[Channel], Notifier]] = MappingProxyType(
    {
        "discord": discord.DiscordNotifier.of_channel,
        "email": email.EmailNotifier.of_channel,
        "pagerduty": pagerduty.PagerDutyNotifier.of_channel,
        "slack": slack.of_channel,
        "webhook": webhook.WebhookNotifier.of_channel,
    }
)
