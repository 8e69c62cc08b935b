"""Notifications to Slack: by incoming webhook, or by a bot that updates its own message.

An incoming webhook can only post. A bot (token with `chat:write`, and `files:write` for charts)
posts the first message of a firing and from then on updates it, so that a channel shows one message
for a firing; the end of it is also posted into the message's thread, for an update notifies nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting.notifications import Kind
from alerting.notifiers import rendering, webhooks
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerting.channels import Channel
    from alerting.notifications import Notification

API_URL = "https://slack.com/api"
HEADER_MAX = 150  # the limits of Block Kit: a header, a section's text and fields
TEXT_MAX = 3000
FIELD_MAX = 2000
FIELDS_MAX = 10
TOKEN_PREFIXES = ("xoxb-", "xoxe.xoxb-")
# What Slack says in an answer of status 200 that may pass (api.slack.com/methods/chat.postMessage).
RETRY_ERRORS = frozenset(
    {
        *("ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable"),
        *("request_timeout", "team_added_to_org", "accesslimited"),
        # an operator may put these right
        *("invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"),
        *("not_in_channel", "channel_not_found", "missing_scope"),
    }
)
GONE_ERRORS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


def escape(text: str) -> str:
    """Keep a server's name from being read as a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(notification: Notification) -> dict[str, object]:
    """Return a message in Block Kit; `text` is what a phone shows."""
    fields: list[object] = [
        {"type": "mrkdwn", "text": f"*{escape(name)}*\n{escape(value) or '-'}"[:FIELD_MAX]}
        for name, value in rendering.facts(notification)
    ]
    blocks: list[dict[str, object]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": rendering.title(notification)[:HEADER_MAX]},
        },
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": escape(rendering.sentence(notification))[:TEXT_MAX]},
        },
    ]
    for extra in rendering.paragraphs(notification):
        block = f"```{escape(extra)[: TEXT_MAX - 6]}```"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": block}})
    starts = range(0, min(len(fields), 2 * FIELDS_MAX), FIELDS_MAX)
    sections: list[dict[str, object]] = [
        {"type": "section", "fields": fields[first : first + FIELDS_MAX]} for first in starts
    ]
    blocks += sections
    if notification.ack_url:
        button = {
            "type": "button",
            "text": {"type": "plain_text", "text": "Acknowledge"},
            "url": notification.ack_url,
        }
        blocks.append({"type": "actions", "elements": [button]})
    further = " · ".join(f"`{escape(line)}`" for line in rendering.how_to_look(notification))
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": further}]})
    return {
        "text": escape(f"{rendering.title(notification)}: {rendering.sentence(notification)}"),
        "attachments": [{"color": rendering.colour(notification), "blocks": blocks}],
    }


class SlackWebhookNotifier:
    """Posts to one incoming webhook."""

    def __init__(self, *, name: str, url: str, deadline_s: float = webhooks.DEADLINE_S) -> None:
        webhooks.check_url(url)
        self.name = name
        self._url = url
        self._deadline_s = deadline_s

    async def send(self, notification: Notification) -> None:
        """Post the message."""
        await webhooks.post(
            "Slack", self._url, json=message(notification), deadline_s=self._deadline_s
        )


class SlackBotNotifier:
    """Posts and updates as a bot.

    `posted` remembers where the message of a firing is, so that the next one updates it; the outbox
    keeps it in the database.
    """

    def __init__(self, *, name: str, token: str, channel: str, api_url: str = API_URL) -> None:
        webhooks.check_url(api_url)
        self.name = name
        self._headers = {"Authorization": f"Bearer {token}"}
        self._channel = channel
        self._api_url = api_url

    async def send(self, notification: Notification) -> None:
        """Post a new message."""
        await self.send_after(notification, None)

    async def send_after(
        self, notification: Notification, posted: Mapping[str, str] | None
    ) -> Mapping[str, str]:
        """Update the firing's message, or post the first one; return where it is.

        Args:
            notification: what to say.
            posted: what the last call for the same firing returned.
        """
        body = message(notification)
        if posted is None:
            return await self._post(body)
        try:
            await self._call("chat.update", {**body, **posted})
        except _GoneError:
            return await self._post(body)
        if notification.kind in {Kind.RESOLVED, Kind.WITHDRAWN, Kind.ESCALATED}:
            reply = {"text": body["text"], "thread_ts": posted["ts"]}
            await self._call("chat.postMessage", {"channel": posted["channel"], **reply})
        return posted

    async def _post(self, body: Mapping[str, object]) -> Mapping[str, str]:
        """Post a message of its own; return where it is."""
        answer = await self._call("chat.postMessage", {"channel": self._channel, **body})
        return {"channel": str(answer.get("channel", self._channel)), "ts": str(answer.get("ts"))}

    async def _call(self, method: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """Call a method; Slack answers most failures with status 200."""
        response = await webhooks.post(
            "Slack", f"{self._api_url}/{method}", json=body, headers=self._headers
        )
        answer = webhooks.read_json(response)
        if answer.get("ok") is True:
            return answer
        said = str(answer.get("error", "nothing readable"))[:100]
        if said in GONE_ERRORS:
            raise _GoneError(said)
        text = f"Slack answered {said}"
        if said in RETRY_ERRORS or not answer:
            after = webhooks.retry_after_s(response.headers.get("Retry-After"))
            raise errors.Retryable(text, after_s=after)
        raise errors.Permanent(text)


class _GoneError(errors.Permanent):
    """The message that should be updated is no longer there."""


def of_channel(channel: Channel) -> SlackWebhookNotifier | SlackBotNotifier:
    """Make the notifier of a stored channel: a bot where its secret is a token.

    Raises:
        Permanent: it has no usable address or token.
    """
    secret = channel.secret or ""
    try:
        if secret.startswith(TOKEN_PREFIXES):
            return SlackBotNotifier(
                name=channel.name,
                token=secret,
                channel=str(channel.config.get("channel", "")),
                api_url=str(channel.config.get("api_url", API_URL)),
            )
        return SlackWebhookNotifier(name=channel.name, url=secret)
    except errors.ConfigError as error:
        raise errors.Permanent(f"channel {channel.name}: {error}") from error
