"""Keys, enrolments and the audit log over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from storage import enrollments, keys

LATER = (datetime.now(UTC) + timedelta(days=10)).isoformat()


async def prefixes(api) -> dict[str, dict]:
    return {k["prefix"]: k for k in (await api.client.get("/api/v1/keys")).json()["keys"]}


async def test_a_key_is_made_listed_rotated_and_revoked(api, connection):
    made = await api.client.post(
        "/api/v1/keys",
        json={"role": "writer", "servers": ["a", "b"], "note": "n", "expires_at": LATER},
    )
    first = made.json()
    rotated = await api.client.post(f"/api/v1/keys/{first['prefix']}/rotate", json={"grace": "1h"})
    second = rotated.json()
    again = await api.client.post(f"/api/v1/keys/{first['prefix']}/rotate")
    revoked = await api.client.delete(f"/api/v1/keys/{second['prefix']}")

    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert (rotated.status_code, again.status_code, revoked.status_code) == (201, 422, 200)
    old = await keys.verify(connection, first["key"])
    assert timedelta(minutes=59) < old.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    assert await keys.verify(connection, second["key"]) is None
    listed = await prefixes(api)
    assert listed[second["prefix"]]["replaces"] == first["prefix"]
    assert listed[second["prefix"]]["server_names"] == ["a", "b"]
    assert listed[first["prefix"]]["created_by"] == f"key {keys.prefix_of(api.admin_key)}"
    life = datetime.fromisoformat(listed[second["prefix"]]["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=9) < life < timedelta(days=11)  # as long a life again
    assert first["key"][-43:] not in str(listed)


async def test_a_token_is_made_and_a_pending_enrolment_answered(api, connection):
    made = (
        await api.client.post(
            "/api/v1/keys", json={"role": "enroll", "uses": 2, "expires_at": LATER}
        )
    ).json()
    for machine in ("m1", "m2"):
        asker = enrollments.Asker(
            server_name="web", hostname="h", machine_id=machine, agent_version="1"
        )
        await enrollments.enroll(connection, made["key"], asker)

    [pending] = (await api.client.get("/api/v1/enrollments")).json()["enrollments"]
    denied = await api.client.post(f"/api/v1/enrollments/{pending['id']}/deny")
    twice = await api.client.post(f"/api/v1/enrollments/{pending['id']}/approve")

    assert (await prefixes(api))[made["prefix"]]["uses_left"] == 0
    assert pending["server_id"] == "web"
    assert "m2" not in str(pending)
    assert (denied.status_code, denied.json()["state"], twice.status_code) == (200, "denied", 404)
    assert (await api.client.get("/api/v1/enrollments")).json() == {"enrollments": []}
    everything = (await api.client.get("/api/v1/enrollments?all=true")).json()["enrollments"]
    assert [each["state"] for each in everything] == ["enrolled", "denied"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "boss"},
        {"role": ["admin"]},
        {"role": "agent"},
        {"role": "agent", "servers": ["a", "b"]},
        {"role": "agent", "servers": "a"},
        {"role": "agent", "servers": ["a\u0000"]},
        {"role": "agent", "servers": ["\ud800"]},
        {"role": "admin", "note": "a\u0000"},
        {"role": "admin", "note": "\ud800"},
        {"role": "admin", "note": "n" * 201},
        {"role": "admin", "expires_at": "2020-01-01T00:00:00Z"},
        {"role": "admin", "expires_at": "soon"},
        {"role": "admin", "expires_at": 1},
        {"role": "admin", "uses": 1},
        {"role": "enroll"},
        {"role": "enroll", "uses": 0, "expires_at": LATER},
        {"role": "enroll", "uses": True, "expires_at": LATER},
        {"role": "enroll", "uses": 10**30, "expires_at": LATER},
        {"role": "enroll", "uses": 1, "expires_at": LATER, "servers": ["a", "b"]},
        {"role": "admin", "more": 1},
        [],
    ],
)
async def test_a_key_that_makes_no_sense_is_refused_and_not_made(api, body):
    before = await prefixes(api)

    answer = await api.client.post("/api/v1/keys", content=json.dumps(body))

    assert answer.status_code in {400, 422}, answer.text
    assert (await prefixes(api)).keys() == before.keys()


@pytest.mark.parametrize("grace", ["31d", "-1s", "soon", True, None, 1e400, 10**400, [1]])
async def test_a_grace_that_makes_no_sense_is_refused(api, grace):
    prefix = keys.prefix_of(api.admin_key)

    answer = await api.client.post(
        f"/api/v1/keys/{prefix}/rotate", content=json.dumps({"grace": grace})
    )

    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("prefix", ["00000000", "zz", "%00", "x" * 1000])
async def test_a_prefix_that_is_not_there_is_a_404(api, prefix):
    assert (await api.client.delete(f"/api/v1/keys/{prefix}")).status_code == 404
    assert (await api.client.post(f"/api/v1/keys/{prefix}/rotate")).status_code == 404


async def test_the_audit_log_is_read_by_actor_action_and_page(api, connection):
    for role in ("reader", "admin", "reader"):
        await api.client.post("/api/v1/keys", json={"role": role})
    await connection.execute(
        "INSERT INTO audit (actor, action, object, allowed, address, count)"
        " VALUES ('(unknown)', 'http.request', NULL, false, '10.0.0.9', 7)"
    )

    async def read(**parameters):
        answer = await api.client.get("/api/v1/audit", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["audit"]

    everything = await read()
    assert [each["action"] for each in everything] == ["http.request", *["key.create"] * 4]
    assert (everything[0]["allowed"], everything[0]["count"]) == (False, 7)
    me = f"key {keys.prefix_of(api.admin_key)}"
    assert [each["detail"]["role"] for each in await read(actor=me)] == [
        "reader",
        "admin",
        "reader",
    ]
    assert len(await read(action="key")) == 4
    assert len(await read(action="key.create", limit=1)) == 1
    assert await read(before=everything[-2]["id"]) == everything[-1:]
    assert await read(since=LATER.partition(".")[0] + "Z") == []
    for wrong in ({"limit": 0}, {"limit": 1001}, {"before": "x"}, {"since": "x"}, {"who": "x"}):
        assert (await api.client.get("/api/v1/audit", params=wrong)).status_code == 400
