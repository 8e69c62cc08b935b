"""Alerts over HTTP, and the page behind a message's link."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet

from alerting import links, notifications
from storage import keys, secrets
from tests.told import CPU


@pytest.fixture
async def reader(api, connection):
    key = await keys.create(connection, role=keys.Role.READER, created_by="test")
    return {"Authorization": f"Bearer {key}"}


async def test_what_fires_is_listed_and_can_be_acknowledged_once(api, alert_id):
    listed = (await api.client.get("/api/v1/alerts")).json()["alerts"]
    first = await api.client.post(f"/api/v1/alerts/{alert_id}/ack")
    second = await api.client.post(f"/api/v1/alerts/{alert_id}/ack")
    unknown = await api.client.post("/api/v1/alerts/999999/ack")

    assert [(a["rule"], a["server_id"], a["state"]) for a in listed] == [
        ("cpu_usage", "web", "firing")
    ]
    assert first.json()["acknowledged"] == "done"
    assert second.json()["acknowledged"] == "already"
    assert unknown.status_code == 404


async def test_a_wrong_state_is_refused_by_name(api):
    answer = await api.client.get("/api/v1/alerts?state=burning")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "state"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/alerts/1/ack"),
        ("POST", "/api/v1/silences"),
        ("DELETE", "/api/v1/silences/1"),
        ("PUT", "/api/v1/rules/load"),
    ],
)
async def test_only_an_admin_may_change_anything(api, reader, method, path):
    answer = await api.client.request(method, path, headers=reader, json={})

    assert answer.status_code == 403


@pytest.fixture
async def link(api, connection, alert_id, monkeypatch):
    """The path of a link, whose message is in the outbox."""
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("HOSTPULSE_SECRET_KEY", key)
    told = dataclasses.replace(CPU, server="<web>", alert_id=alert_id)
    await connection.execute(
        "INSERT INTO notification (created_at, alert_id, channel, kind, dedup_key, payload,"
        " next_attempt_at) VALUES (now(), $1, 'ops', 'fired', $2, $3, now())",
        alert_id,
        told.dedup_key,
        notifications.to_json(told),
    )
    box = secrets.SecretBox(key)

    def make(ago: timedelta = timedelta(0)) -> str:
        return links.make(box, "", told, api.now() - ago)

    return make


async def acknowledged_by(connection) -> str | None:
    return await connection.fetchval("SELECT acknowledged_by FROM alert")


async def test_opening_a_link_changes_nothing_and_posting_acknowledges(api, link, connection):
    path = link()

    opened = await api.client.get(path, headers={"Authorization": ""})
    after_opening = await acknowledged_by(connection)
    posted = await api.client.post(path, data={"who": "Ann\n"}, headers={"Authorization": ""})

    assert opened.status_code == 200
    assert "[WARNING] cpu usage on &lt;web&gt;" in opened.text
    assert after_opening is None
    assert "acknowledged" in posted.text
    assert await acknowledged_by(connection) == "link: Ann"
    assert "frame-ancestors 'none'" in opened.headers["Content-Security-Policy"]


async def test_a_link_that_is_too_old_or_forged_is_gone(api, link, connection):
    answers = [
        await api.client.post(link(timedelta(days=7))),
        await api.client.post("/ack/AAAA"),
        await api.client.get("/ack/AAAA"),
    ]

    assert [answer.status_code for answer in answers] == [410, 410, 410]
    assert await acknowledged_by(connection) is None


async def test_a_link_does_not_acknowledge_a_later_firing(api, link, connection):
    path = link()
    await connection.execute("UPDATE alert SET firing_number = 2")

    answer = await api.client.post(path)

    assert "is over already" in answer.text
    assert await acknowledged_by(connection) is None


async def test_an_alert_says_why_it_fired(api, alert_id, connection):
    server_id = await connection.fetchval("SELECT id FROM server")
    await connection.execute(
        "INSERT INTO cpu (time, server_id, usage_percent)"
        " SELECT now() - make_interval(secs => 10 * n), $1, CASE WHEN n < 31 THEN 91 ELSE 20 END"
        " FROM generate_series(0, 60) n",
        server_id,
    )
    await connection.execute(
        "UPDATE alert SET run_started_at = now() - interval '300 s', fired_at = now()"
    )
    await connection.execute(
        "INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change,"
        " from_state, to_state, severity, value, firing_number, detail) SELECT now(), id,"
        " 'cpu_usage', server_id, labels, 'fired', 'pending', 'firing', 'warning', 91, 1,"
        ' \'{"decision": "told", "reason": "nothing mutes it", "notified": ["ops"]}\' FROM alert'
    )
    await connection.execute(
        "INSERT INTO notification (created_at, alert_id, alert_ids, channel, kind, dedup_key,"
        " payload, next_attempt_at) SELECT h.time, h.alert_id, ARRAY[h.alert_id], 'ops', 'fired',"
        " 'k', '{}', now() FROM alert_history h"
    )

    found = (await api.client.get(f"/api/v1/alerts/{alert_id}")).json()
    unknown = await api.client.get("/api/v1/alerts/999999")

    assert found["rule_now"]["levels"][0]["says"] == "> 80.0 % for 5 min"
    assert found["window"]["interval_s"] == 10
    values = [value for _, value in found["values"]]
    assert values[-31:] == [91.0] * 31  # the run that lasted 300 s
    assert values[0] == 20.0  # and what was before it
    assert len(found["course"]) == 21
    assert [each["change"] for each in found["history"]] == ["fired"]
    assert found["history"][0]["detail"]["decision"] == "told"
    assert [(each["channel"], each["state"]) for each in found["deliveries"]] == [
        ("ops", "pending")
    ]
    assert unknown.status_code == 404


async def test_alerts_and_their_history_are_chosen_by_server_rule_and_number(
    api, alert_id, connection
):
    await connection.executemany(
        "INSERT INTO alert_history (time, alert_id, rule_name, server_id, labels, change,"
        " from_state, to_state, severity, value, firing_number)"
        " SELECT now(), id, 'cpu_usage', server_id, labels, $1, 'ok', 'firing', 'warning', 1, 1"
        " FROM alert",
        [("pending_started",), ("fired",), ("resolved",)],
    )

    async def get(path: str):
        return (await api.client.get(f"/api/v1/alerts{path}")).json()

    here = (await get("?server=web&rule=cpu_usage&limit=5"))["alerts"]
    elsewhere = (await get("?server=db"))["alerts"]
    newest = (await get("/history?server=web&limit=2"))["changes"]
    rest = (await get(f"/history?alert={alert_id}&before={newest[-1]['id']}"))["changes"]

    assert ([each["id"] for each in here], elsewhere) == ([alert_id], [])
    assert here[0]["unit"] == "percent"
    assert [each["change"] for each in newest] == ["resolved", "fired"]
    assert [each["change"] for each in rest] == ["pending_started"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=²", "limit"),
        ("?servers=web", "servers"),
        ("?server=a&server=b", "server"),
        ("?since=yesterday", "since"),
        ("?server=%00", "server"),
        ("/history?before=x", "before"),
        ("/history?state=firing", "state"),
        ("/99999999999999999999", "alert_id"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(api, path, field):
    answer = await api.client.get(f"/api/v1/alerts{path}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


async def test_a_message_about_many_acknowledges_those_that_it_does_not_name(
    api, link, connection, alert_id
):
    path = link()
    server_ids = await connection.fetch(
        "INSERT INTO server (name, watch_offline)"
        " SELECT 'many-' || n, false FROM generate_series(1, 60) n RETURNING id"
    )
    rows = await connection.fetch(
        "INSERT INTO alert (rule_id, server_id, state, severity, value, fired_at, firing_number)"
        " SELECT r.id, s, 'firing', 'warning', 91, now() - interval '1 s', 3"
        " FROM alert_rule r, unnest($1::int[]) s WHERE r.name = 'cpu_usage' RETURNING id",
        [row["id"] for row in server_ids],
    )
    ids = [row["id"] for row in rows]
    await connection.execute("UPDATE notification SET alert_ids = $1", [alert_id, *ids])
    # one of them is over, and has fired anew after the message
    await connection.execute(
        "UPDATE alert SET fired_at = now() + interval '1 minute' WHERE id = $1", ids[-1]
    )

    posted = await api.client.post(path, data={"who": "Ann"}, headers={"Authorization": ""})

    assert "Of 61 alerts:" in posted.text
    assert "60 acknowledged." in posted.text
    assert "1 is over already." in posted.text
    counts = await connection.fetchrow(
        "SELECT count(acknowledged_at) AS done,"
        " (SELECT count(*) FROM alert_history WHERE change = 'acknowledged') AS noted FROM alert"
    )
    assert tuple(counts) == (60, 60)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_no_other_method_than_post_acknowledges(api, link, connection, method):
    answer = await api.client.request(method, link(), headers={"Authorization": ""})

    assert answer.status_code == 405
    assert await acknowledged_by(connection) is None


async def test_a_name_on_the_page_is_text_and_a_link_that_was_used_says_so(api, link, connection):
    path = link()

    await api.client.post(path, data={"who": "<script>alert(1)</script>"})
    again = await api.client.post(path, data={"who": "Bob"})

    assert "was acknowledged before" in again.text
    assert "<script>" not in again.text
    assert "Bob" not in (await acknowledged_by(connection))
    assert again.headers["Referrer-Policy"] == "no-referrer"
    assert again.headers["Cache-Control"] == "no-store"


async def test_a_secret_of_a_channel_is_no_link(api, link, monkeypatch):
    import os

    box = secrets.SecretBox(os.environ["HOSTPULSE_SECRET_KEY"])
    link()

    answer = await api.client.get(f"/ack/{box.encrypt('https://hooks.example/1').decode()}")

    assert answer.status_code == 410
