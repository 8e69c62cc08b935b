"""E-mail to a real SMTP server, Discord to a real HTTP server that answers like Discord's."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from alerting.channels import Channel
from alerting.notifiers import NOTIFIERS
from hostpulse import errors
from tests import told
from tests.web_service import WebService

PATH = "/api/webhooks/123/s3cr3t-token"


def mail_channel(smtp_url: str | None, *to: str) -> Channel:
    recipients = list(to) or ["ops@example.org"]
    return Channel(name="ops", kind="email", config={"to": recipients}, smtp_url=smtp_url)


async def test_a_mail_arrives_with_text_html_and_an_id_of_its_own(mail_server):
    await NOTIFIERS["email"](mail_channel(mail_server.url, "a@example.org", "b@example.org")).send(
        told.DISK
    )

    (message,) = mail_server.messages
    assert message["Subject"] == "[CRITICAL] disk usage on web <1> (mount /var)"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["From"] == "hostpulse@example.org"
    assert message["Message-ID"] == "<hostpulse-abc-1-1-fired@hostpulse>"
    text = message.get_body(("plain",)).get_content()
    for fact in ("95.3 %", "> 90.0 % for 1 min", "2026-02-02 14:28:00 UTC", "disk_usage", "/var"):
        assert fact in text
    assert "web &lt;1&gt;" in message.get_body(("html",)).get_content()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param("451 try later", errors.Retryable, id="4xx is for now"),
        pytest.param("554 no thanks", errors.Permanent, id="5xx is for good"),
    ],
)
async def test_the_mail_servers_answer_decides(mail_server, answer, kind):
    mail_server.answers = [answer]

    with pytest.raises(kind, match=answer[:3]):
        await NOTIFIERS["email"](mail_channel(mail_server.url)).send(told.DISK)


async def test_a_mail_server_that_is_not_there_may_come_back():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"smtp://user:pa55word@127.0.0.1:{probe.getsockname()[1]}"

        with pytest.raises(errors.Retryable) as caught:
            await NOTIFIERS["email"](mail_channel(url)).send(told.DISK)

    assert "pa55word" not in str(caught.value)


async def test_without_a_mail_server_the_message_waits():
    with pytest.raises(errors.Retryable, match="HOSTPULSE_SMTP_URL is not set"):
        NOTIFIERS["email"](mail_channel(None))


@pytest.fixture
def webhook():
    with WebService(PATH) as server:
        yield server


def discord_channel(url: str) -> Channel:
    return Channel(name="chat", kind="discord", config={}, secret=url)


async def test_discord_gets_an_embed_that_pings_nobody(webhook):
    await NOTIFIERS["discord"](discord_channel(webhook.url)).send(told.DISK)

    ((path, _, _),), (body,) = webhook.requests, webhook.bodies()
    (embed,) = body["embeds"]
    assert path == f"{PATH}?wait=true"
    assert body["allowed_mentions"] == {"parse": []}
    assert embed["title"] == "[CRITICAL] disk usage on web <1> (mount /var)"
    assert embed["color"] == 0xC62828
    assert {"name": "Value", "value": "95.3 %", "inline": True} in embed["fields"]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "after_s"),
    [
        pytest.param(429, {"Retry-After": "1.5"}, errors.Retryable, 1.5, id="rate limited"),
        pytest.param(429, {"Retry-After": "soon"}, errors.Retryable, None, id="unreadable delay"),
        pytest.param(500, {}, errors.Retryable, None, id="broken for now"),
        pytest.param(404, {}, errors.Permanent, None, id="webhook deleted"),
        pytest.param(400, {}, errors.Permanent, None, id="refused"),
        pytest.param(302, {"Location": "/x"}, errors.Permanent, None, id="moved"),
    ],
)
async def test_discords_answer_decides(webhook, status, headers, kind, after_s):
    webhook.answers = [(status, headers, {})]

    with pytest.raises(kind, match=str(status)) as caught:
        await NOTIFIERS["discord"](discord_channel(webhook.url)).send(told.DISK)

    assert getattr(caught.value, "after_s", None) == after_s
    assert "s3cr3t" not in str(caught.value)


async def test_the_webhooks_address_appears_in_no_error_and_no_log(caplog):
    caplog.set_level(logging.INFO)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}{PATH}"

        with pytest.raises(errors.Retryable) as caught:
            await NOTIFIERS["discord"](discord_channel(url)).send(told.DISK)

    assert "s3cr3t" not in f"{caught.value}{caught.value.__cause__}{caplog.text}"


async def test_a_webhook_that_trickles_is_left_after_a_deadline():
    from alerting.notifiers.discord import DiscordNotifier

    async def trickle(reader, writer) -> None:
        try:
            await reader.read(100)
            await asyncio.Event().wait()
        finally:
            writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    notifier = DiscordNotifier(name="chat", url=f"http://127.0.0.1:{port}{PATH}", deadline_s=0.2)

    with pytest.raises(errors.Retryable, match="did not answer"):
        await notifier.send(told.DISK)

    server.close()


@pytest.mark.parametrize("url", ["", "http://discord.com/x", "ftp://x/y", "https://", "nonsense"])
def test_an_address_that_is_none_is_refused_without_being_repeated(url):
    with pytest.raises(errors.Permanent, match="must be an https:// address"):
        NOTIFIERS["discord"](discord_channel(url))
