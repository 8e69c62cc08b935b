"""Slack, PagerDuty and webhooks against a real HTTP server that answers like the real ones."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from alerting import notifications
from alerting.channels import Channel
from alerting.notifications import Kind, Member
from alerting.notifiers import NOTIFIERS, pagerduty, slack, webhook, webhooks
from alerting.outbox import Outbox
from hostpulse import errors
from tests import told
from tests.web_service import WebService

SAMPLE = dataclasses.replace(
    told.DISK,
    annotations={"runbook": "https://example.org/disk"},
    ack_url="https://hostpulse.example.org/ack/token",
)
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-s3cr3t"


@pytest.fixture
def service():
    with WebService("/s3cr3t") as server:
        yield server


def notifier(kind: str, service: WebService):
    channel = {
        "slack": Channel(name="chat", kind="slack", config={}, secret=service.url),
        "slack bot": Channel(
            name="bot",
            kind="slack",
            config={"channel": "C1", "api_url": service.url},
            secret=TOKEN,
        ),
        "pagerduty": Channel(
            name="pager", kind="pagerduty", config={"url": service.url}, secret=ROUTING_KEY
        ),
        "webhook": Channel(
            name="hook", kind="webhook", config={}, secret=f"hmac-key {service.url}"
        ),
    }[kind]
    return NOTIFIERS[channel.kind](channel)


KINDS = ["slack", "slack bot", "pagerduty", "webhook"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "headers", "verdict", "after_s"),
    [
        pytest.param(429, {"Retry-After": "1.5"}, errors.Retryable, 1.5, id="rate limited"),
        pytest.param(429, {}, errors.Retryable, None, id="rate limited for a while"),
        pytest.param(503, {"Retry-After": "30"}, errors.Retryable, 30.0, id="down for now"),
        pytest.param(500, {}, errors.Retryable, None, id="broken for now"),
        pytest.param(400, {}, errors.Permanent, None, id="refused"),
        pytest.param(404, {}, errors.Permanent, None, id="gone"),
    ],
)
async def test_the_answers_status_decides_and_no_secret_is_shown(
    service, kind, status, headers, verdict, after_s
):
    service.answers = [(status, headers, {})]

    with pytest.raises(verdict, match=str(status)) as caught:
        await notifier(kind, service).send(SAMPLE)

    assert getattr(caught.value, "after_s", None) == after_s
    for secret in ("s3cr3t", ROUTING_KEY, "hmac-key"):
        assert secret not in str(caught.value)


async def test_slack_gets_blocks_that_mention_nobody_and_a_button(service):
    loud = dataclasses.replace(SAMPLE, server="<!channel>")

    await notifier("slack", service).send(loud)

    (body,) = service.bodies()
    text = json.dumps(body)
    (attachment,) = body["attachments"]
    assert "<!channel>" not in text.replace('"plain_text", "text": "[CRITICAL]', "", 1).replace(
        "on <!channel> (mount", "", 1
    )
    assert attachment["color"] == "#c62828"
    assert {"type": "mrkdwn", "text": "*Value*\n95.3 %"} in attachment["blocks"][2]["fields"]
    assert attachment["blocks"][3]["elements"][0]["url"] == SAMPLE.ack_url
    assert all(len(block.get("fields", [])) <= slack.FIELDS_MAX for block in attachment["blocks"])


def slack_says(**answer) -> tuple[int, dict[str, str], object]:
    return (200, {}, {"ok": "error" not in answer, **answer})


async def test_a_bot_posts_once_and_then_updates_its_message(service):
    bot = notifier("slack bot", service)
    service.answers = [slack_says(channel="C1", ts="1.5"), slack_says(), slack_says()]

    place = await bot.send_after(SAMPLE, None)
    again = await bot.send_after(dataclasses.replace(SAMPLE, kind=Kind.RESOLVED, value=70.0), place)

    assert [path for path, _, _ in service.requests] == [
        "/s3cr3t/chat.postMessage",
        "/s3cr3t/chat.update",
        "/s3cr3t/chat.postMessage",
    ]
    first, update, reply = service.bodies()
    assert first["channel"] == "C1"
    assert (update["channel"], update["ts"]) == ("C1", "1.5")
    assert reply["thread_ts"] == "1.5"
    assert again == place == {"channel": "C1", "ts": "1.5"}
    assert service.requests[0][1]["Authorization"] == f"Bearer {TOKEN}"


async def test_a_bot_whose_message_was_deleted_posts_a_new_one(service):
    service.answers = [slack_says(error="message_not_found"), slack_says(channel="C1", ts="2.5")]

    place = await notifier("slack bot", service).send_after(SAMPLE, {"channel": "C1", "ts": "1.5"})

    assert place == {"channel": "C1", "ts": "2.5"}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("ratelimited", errors.Retryable),
        ("internal_error", errors.Retryable),
        ("token_revoked", errors.Retryable),
        ("not_in_channel", errors.Retryable),
        ("invalid_blocks", errors.Permanent),
        ("msg_too_long", errors.Permanent),
    ],
)
async def test_what_slack_says_with_status_200_decides(service, error, verdict):
    service.answers = [slack_says(error=error)]

    with pytest.raises(verdict, match=error):
        await notifier("slack bot", service).send(SAMPLE)


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"kind": Kind.FIRED}, "trigger"),
        ({"kind": Kind.REPEATED}, "trigger"),
        ({"kind": Kind.ANNOUNCED}, "trigger"),
        ({"kind": Kind.ESCALATED}, "trigger"),
        ({"kind": Kind.SEVERITY_CHANGED}, "trigger"),
        ({"kind": Kind.NO_DATA}, "trigger"),
        ({"kind": Kind.NO_DATA, "is_open": False}, "resolve"),
        ({"kind": Kind.ACKNOWLEDGED}, "acknowledge"),
        ({"kind": Kind.RESOLVED, "is_open": False}, "resolve"),
        ({"kind": Kind.WITHDRAWN, "is_open": False}, "resolve"),
    ],
    ids=lambda value: str(value),
)
async def test_pagerduty_gets_one_incident_for_a_firing(service, change, action):
    service.answers = [(202, {}, {"status": "success", "dedup_key": "hostpulse-abc"})]

    await notifier("pagerduty", service).send(dataclasses.replace(SAMPLE, **change))

    (body,) = service.bodies()
    assert (body["event_action"], body["dedup_key"]) == (action, "hostpulse-abc")
    assert body["routing_key"] == ROUTING_KEY
    assert body["payload"]["severity"] == "critical"
    assert len(body["payload"]["summary"]) <= pagerduty.SUMMARY_MAX
    assert {"href": "https://example.org/disk", "text": "Runbook"} in body["links"]


async def test_a_webhook_gets_signed_json_with_the_same_key_in_every_attempt(service):
    await notifier("webhook", service).send(SAMPLE)
    await notifier("webhook", service).send(SAMPLE)

    (_, headers, body), (_, again, same) = service.requests
    timestamp, signature = headers[webhook.SIGNATURE].split(",")
    signed = f"{timestamp.removeprefix('t=')}.".encode() + body
    expected = hmac.new(b"hmac-key", signed, hashlib.sha256).hexdigest()
    assert signature == f"v1={expected}"
    assert body == same
    assert headers["Idempotency-Key"] == again["Idempotency-Key"] == SAMPLE.dedup_key
    content = json.loads(body)
    assert (content["version"], content["kind"], content["server"]) == (1, "fired", "web <1>")
    assert "ack_url" not in content


async def test_many_alerts_are_one_message_that_names_them(service):
    members = tuple(
        Member(
            alert_id=n,
            firing_number=1,
            severity="critical",
            value=90.0 + n,
            rule="disk_usage",
            unit="percent",
            server=f"web-{n}",
            labels={"mount": "/"},
        )
        for n in range(3)
    )
    many = dataclasses.replace(SAMPLE, members=members, member_count=3)

    await notifier("webhook", service).send(many)

    (content,) = service.bodies()
    assert content["title"] == "[CRITICAL] disk usage on 3 servers"
    assert content["evidence"] == [
        "\n".join(f"critical web-{n} (mount /): {90 + n}.0 %" for n in range(3))
    ]
    assert notifications.from_json(notifications.to_json(many)).members == members


NOW = datetime(2026, 2, 2, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("12", 12.0),
        ("Mon, 02 Feb 2026 14:31:00 GMT", 60.0),
        ("Mon, 02 Feb 2026 14:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert webhooks.retry_after_s(value, now=NOW) == expected


@pytest.mark.parametrize(
    ("kind", "secret"),
    [("slack", "http://hooks.slack.com/x"), ("pagerduty", "short"), ("webhook", "key ftp://x")],
)
def test_a_secret_that_is_none_is_refused_without_being_repeated(kind, secret):
    with pytest.raises(errors.Permanent) as caught:
        NOTIFIERS[kind](Channel(name="x", kind=kind, config={}, secret=secret))

    assert secret.rpartition(" ")[2] not in str(caught.value)


async def test_the_outbox_remembers_where_a_bots_message_is(house, pool, service):
    import asyncio

    from cryptography.fernet import Fernet

    from alerting import channels
    from storage import secrets

    box = secrets.SecretBox(Fernet.generate_key().decode())
    await channels.add(
        house.connection,
        channels.StoredChannel(
            name="bot",
            kind="slack",
            config={"channel": "C1", "api_url": service.url},
            secret=box.encrypt(TOKEN),
        ),
    )
    for n, kind in enumerate((Kind.FIRED, Kind.REPEATED)):
        payload = notifications.to_json(dataclasses.replace(SAMPLE, kind=kind))
        await house.connection.execute(
            "INSERT INTO notification (created_at, alert_id, queue, channel, kind, dedup_key,"
            " payload, next_attempt_at) VALUES (now(), 1, 'alert 1', 'bot', $1, $2, $3, now())",
            kind,
            f"{n}",
            payload,
        )
    service.answers = [slack_says(channel="C1", ts="1.5"), slack_says()]
    outbox = Outbox(
        pool,
        opener=channels.ChannelOpener(box=box, environment={}),
        notifiers=NOTIFIERS,
        stop=asyncio.Event(),
    )

    await outbox.drain("bot")

    assert [path for path, _, _ in service.requests] == [
        "/s3cr3t/chat.postMessage",
        "/s3cr3t/chat.update",
    ]
