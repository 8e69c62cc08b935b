"""Channels over HTTP: secrets go in and never come out."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography.fernet import Fernet

from alerting import channels, notifiers
from alerting.outbox import Outbox
from hostpulse import errors
from storage import keys, secrets

HOOK = "https://discord.com/api/webhooks/1/s3cr3t-token"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def box(monkeypatch):
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("HOSTPULSE_SECRET_KEY", key)
    return secrets.SecretBox(key)


async def stored_secret(connection, box, name: str) -> str | None:
    stored = await connection.fetchval("SELECT secret FROM channel WHERE name = $1", name)
    return None if stored is None else box.decrypt(stored)


async def test_a_channel_is_added_listed_changed_and_removed(api, box, connection):
    body = {"name": "ops", "kind": "discord", "secret": HOOK}

    added = await api.client.post("/api/v1/channels", json=body)
    again = await api.client.post("/api/v1/channels", json=body)
    changed = await api.client.put("/api/v1/channels/ops", json={"enabled": False})
    (listed,) = (await api.client.get("/api/v1/channels")).json()["channels"]
    kept = await stored_secret(connection, box, "ops")
    removed = await api.client.delete("/api/v1/channels/ops")
    gone = await api.client.delete("/api/v1/channels/ops")

    assert (added.status_code, again.status_code, changed.status_code) == (201, 409, 200)
    assert listed == {
        "name": "ops",
        "kind": "discord",
        "config": {},
        "secret": "stored, encrypted",
        "enabled": False,
    }
    assert kept == HOOK
    assert (removed.status_code, gone.status_code) == (204, 404)
    actions = await connection.fetch("SELECT action FROM audit ORDER BY id")
    assert [row["action"] for row in actions][-3:] == [
        "channel.add",
        "channel.change",
        "channel.remove",
    ]


async def test_no_answer_and_no_row_has_a_secret_in_clear(api, box, connection):
    answers = [
        await api.client.post(
            "/api/v1/channels", json={"name": "a", "kind": "discord", "secret": HOOK}
        ),
        await api.client.post(
            "/api/v1/channels", json={"name": "b", "kind": "pagerduty", "secret": ROUTING_KEY}
        ),
        await api.client.post(
            "/api/v1/channels", json={"name": "c", "kind": "webhook", "secret": f"sign-me {HOOK}"}
        ),
        await api.client.post(
            "/api/v1/channels", json={"name": "d", "kind": "slack", "secret": "xoxb-s3cr3t-token x"}
        ),
        await api.client.post(
            "/api/v1/channels",
            json={"name": "e", "kind": "discord", "secret": "http://elsewhere/s3cr3t-token"},
        ),
        await api.client.get("/api/v1/channels"),
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 201, 422, 422, 200]
    everything = "".join(answer.text for answer in answers)
    rows = await connection.fetch("SELECT to_jsonb(c) AS row FROM channel c")
    rows += await connection.fetch("SELECT to_jsonb(a) AS row FROM audit a")
    everything += json.dumps([row["row"] for row in rows])
    for secret in ("s3cr3t-token", ROUTING_KEY, "sign-me"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"name": "x", "kind": "email", "config": {"to": ["a@example.org"]}, "url": "y"}, "body"),
        ({"kind": "email", "config": {"to": ["a@example.org"]}}, "name"),
        ({"name": "a b", "kind": "email", "config": {"to": ["a@example.org"]}}, "name"),
        ({"name": "x", "kind": "pigeon"}, "kind"),
        ({"name": "x", "kind": "email", "config": []}, "config"),
        ({"name": "x", "kind": "email", "config": {}}, "config.to"),
        (
            {"name": "x", "kind": "email", "config": {"to": ["a@b.c\nBcc: b@c"]}},
            "config.to",
        ),
        ({"name": "x", "kind": "email", "config": {"to": ["a@b.c"], "from": "me"}}, "config.from"),
        ({"name": "x", "kind": "email", "config": {"to": ["a@b.c"]}, "secret": "y"}, "secret"),
        ({"name": "x", "kind": "discord"}, "secret"),
        ({"name": "x", "kind": "discord", "secret": "http://example.org/x"}, "secret"),
        ({"name": "x", "kind": "discord", "secret": "env:not a name"}, "secret"),
        ({"name": "x", "kind": "slack", "secret": "xoxb-1"}, "config.channel"),
        ({"name": "x", "kind": "discord", "secret": HOOK, "enabled": 1}, "enabled"),
        # where a routing key or a token is sent is not to be chosen by whoever edits the channel
        (
            {
                "name": "x",
                "kind": "pagerduty",
                "secret": ROUTING_KEY,
                "config": {"url": "https://evil.example"},
            },
            "config",
        ),
    ],
)
async def test_a_wrong_channel_is_refused_with_its_field_and_not_stored(
    api, box, connection, body, field
):
    answer = await api.client.post("/api/v1/channels", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert await connection.fetchval("SELECT count(*) FROM channel") == 0


async def test_what_a_change_does_not_name_stays(api):
    body = {"name": "ops", "kind": "email", "config": {"to": ["a@example.org"]}}
    await api.client.post("/api/v1/channels", json=body)

    changed = await api.client.put("/api/v1/channels/ops", json={"enabled": False})
    moved = await api.client.put("/api/v1/channels/ops", json={"kind": "webhook"})

    assert changed.json()["config"] == {"to": ["a@example.org"]}
    assert changed.json()["enabled"] is False
    assert moved.status_code == 422


async def test_a_channel_that_rules_name_stays(api, connection):
    body = {"name": "ops", "kind": "email", "config": {"to": ["a@example.org"]}}
    await api.client.post("/api/v1/channels", json=body)
    await connection.execute("UPDATE alert_rule SET channels = '{ops}' WHERE name = 'load'")

    answer = await api.client.delete("/api/v1/channels/ops")

    assert answer.status_code == 409
    assert "load" in answer.json()["detail"]
    assert await connection.fetchval("SELECT count(*) FROM channel") == 1


async def test_a_gateway_without_keys_does_not_make_any(api, monkeypatch, tmp_path):
    monkeypatch.delenv("HOSTPULSE_SECRET_KEY", raising=False)
    monkeypatch.setenv("HOSTPULSE_DATA_DIR", str(tmp_path))

    answer = await api.client.post(
        "/api/v1/channels", json={"name": "ops", "kind": "discord", "secret": HOOK}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "HOSTPULSE_SECRET_KEY"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/channels"),
        ("PUT", "/api/v1/channels/ops"),
        ("DELETE", "/api/v1/channels/ops"),
        ("POST", "/api/v1/channels/ops/test"),
    ],
)
async def test_only_an_admin_may_touch_channels(api, connection, method, path):
    key = await keys.create(connection, role=keys.Role.READER, created_by="test")
    answer = await api.client.request(
        method, path, headers={"Authorization": f"Bearer {key}"}, json={}
    )

    assert answer.status_code == 403


class Refusing:
    """A notifier whose other side says no for now."""

    name = "ops"

    async def send(self, notification) -> None:
        raise errors.Retryable("the other side answered 503")


@pytest.mark.parametrize("works", [True, False])
async def test_a_test_is_sent_once_by_the_worker_and_says_what_came_of_it(
    api, box, connection, pool, works
):
    body = {"name": "ops", "kind": "email", "config": {"to": ["a@example.org"]}}
    await api.client.post("/api/v1/channels", json=body)
    sent = []

    class Taking:
        name = "ops"

        async def send(self, notification) -> None:
            sent.append(notification.kind)

    stop = asyncio.Event()
    opener = channels.ChannelOpener(box=box, environment={})
    kinds = {**notifiers.NOTIFIERS, "email": lambda _channel: Taking() if works else Refusing()}
    outbox = Outbox(pool, opener=opener, notifiers=kinds, stop=stop, poll_s=0.05)
    running = asyncio.create_task(outbox.run())
    answer = await api.client.post("/api/v1/channels/ops/test")
    stop.set()
    await running

    assert answer.status_code == 200
    if works:
        assert answer.json() == {"outcome": "sent", "error": None}
        assert sent == ["test"]
    else:
        assert answer.json() == {"outcome": "failed", "error": "the other side answered 503"}
    states = await connection.fetch("SELECT state, attempts FROM notification")
    assert [tuple(row) for row in states] == [("sent" if works else "failed", 1)]


async def test_without_a_worker_a_test_is_withdrawn(api, pool, connection, box):
    from alerting import channel_tests

    await channels.add(
        connection, channels.StoredChannel(name="ops", kind="email", config={"to": ["a@b.c"]})
    )

    result = await channel_tests.run(pool, "ops", wait_s=0)

    assert result.outcome is channel_tests.Outcome.NOT_TAKEN
    assert await connection.fetchval("SELECT state FROM notification") == "failed"
