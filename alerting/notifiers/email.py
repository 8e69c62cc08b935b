"""Notifications by e-mail: plain text and HTML, through the installation's mail server."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING, Self, cast
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from alerting.notifiers import rendering
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerting.channels import Channel
    from alerting.notifications import Notification

FIELD = "HOSTPULSE_SMTP_URL"
EXPECTATION = "smtp://[user:password@]host[:port][?from=address] or smtps://…"
TIMEOUT_S = 20.0  # for each step of the dialogue
PORTS = {"smtp": 587, "smtps": 465}
DEFAULT_SENDER = "hostpulse@localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """How to reach the mail server. `smtp` uses STARTTLS where offered, `smtps` TLS from the start.

    Where a password is set and the server is not on this machine, STARTTLS is demanded.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sender: str = DEFAULT_SENDER


def parse_url(url: str) -> MailServer:
    """Read HOSTPULSE_SMTP_URL.

    Raises:
        ConfigError: it is none; a password in it is not repeated.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        sender = parse_qs(parts.query, strict_parsing=bool(parts.query)).get("from", [None])[0]
        if sender is not None:
            Address(addr_spec=sender)
    except (ValueError, IndexError) as error:
        raise errors.ConfigError(FIELD, expectation=EXPECTATION, value="***") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise errors.ConfigError(FIELD, expectation=EXPECTATION, value=f"{parts.scheme}://***")
    return MailServer(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        tls=parts.scheme == "smtps",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        sender=sender or DEFAULT_SENDER,
    )


def compose(notification: Notification, *, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Write the message; its id is the dedup key, so that a repeat can be recognised."""
    message = EmailMessage()
    message["Subject"] = rendering.title(notification)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = notification.at
    message["Message-ID"] = f"<{notification.dedup_key}@hostpulse>"
    message["References"] = f"<{notification.thread}@hostpulse>"  # one thread for a firing
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation replies
    message.set_content(rendering.text(notification))
    message.add_alternative(rendering.html_page(notification), subtype="html")
    if notification.chart is not None:
        page = message.get_body(("html",))
        assert isinstance(page, EmailMessage)  # noqa: S101 - it was just added
        page.add_related(
            notification.chart,
            maintype="image",
            subtype="png",
            cid=f"<{rendering.CHART_ID}>",
            filename="chart.png",
            disposition="inline",
        )
    return message


class EmailNotifier:
    """Sends to the addresses of one channel."""

    def __init__(
        self,
        *,
        name: str,
        server: MailServer,
        recipients: Sequence[str],
        sender: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        if not recipients:
            raise ValueError("recipients must not be empty")
        self.name = name
        self._server = server
        self._recipients = tuple(recipients)
        self._sender = sender or server.sender
        self._timeout_s = timeout_s

    @classmethod
    def of_channel(cls, channel: Channel) -> Self:
        """Make the notifier of a stored channel.

        Raises:
            Retryable: no mail server is set; that can be mended.
        """
        if channel.smtp_url is None:
            raise errors.Retryable(f"{FIELD} is not set")
        return cls(
            name=channel.name,
            server=parse_url(channel.smtp_url),
            recipients=cast("list[str]", channel.config.get("to", [])),
            sender=cast("str | None", channel.config.get("from")),
        )

    async def send(self, notification: Notification) -> None:
        """Hand the message to the mail server.

        Some recipients refused for good while others were taken counts as sent: sending again
        would reach the others twice.
        """
        message = compose(notification, sender=self._sender, recipients=self._recipients)
        server = self._server
        try:
            await aiosmtplib.send(
                message,
                sender=self._sender,
                recipients=list(self._recipients),
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                use_tls=server.tls,
                start_tls=self._start_tls(),
                tls_context=ssl.create_default_context(),
                timeout=self._timeout_s,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refusal.code for refusal in error.recipients]
            raise _verdict(max(codes) if min(codes) >= 500 else min(codes), "recipients") from error
        except aiosmtplib.SMTPResponseException as error:
            raise _verdict(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            said = str(error) or type(error).__name__
            raise errors.Retryable(f"{server.host}:{server.port}: {said}") from error

    def _start_tls(self) -> bool | None:
        """Demand STARTTLS, forbid it, or (None) use it where it is offered."""
        server = self._server
        if server.tls:
            return False
        is_local = server.host in {"localhost", "127.0.0.1", "::1"}
        return True if server.password and not is_local else None


def _verdict(code: int, said: str) -> errors.HostpulseError:
    """Turn an SMTP reply into a verdict: 4yz is for now, 5yz for good (RFC 5321, section 4.2.1).

    535 and its kin are a wrong password: an operator may set it right, so that is worth trying
    again.
    """
    text = f"the mail server answered {code}: {said[:200]}"
    if 500 <= code < 600 and code not in {530, 534, 535, 538}:
        return errors.Permanent(text)
    return errors.Retryable(text)
