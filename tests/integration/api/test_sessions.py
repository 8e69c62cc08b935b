from __future__ import annotations

import dataclasses

import httpx
import pytest

from api import app, sessions
from collector_gateway import auth, denials, limits, logins
from storage import keys, web_sessions

PAGE = {"X-Hostpulse-Page": "1", "Origin": "http://gateway"}


@pytest.fixture
async def visitor(api):
    """A browser without a key."""
    async with httpx.AsyncClient(
        transport=api.client._transport, base_url="http://gateway"
    ) as client:
        yield client


async def sign_in(visitor, body: dict[str, str]) -> httpx.Response:
    return await visitor.post("/api/v1/session", json=body, headers=PAGE)


async def test_key_signs_in_and_the_cookie_stands_for_it(api, visitor) -> None:
    answer = await sign_in(visitor, {"key": api.admin_key})

    who = await visitor.get("/api/v1/session")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # this came over http
    assert who.json() == {
        "signed_in": True,
        "key": keys.prefix_of(api.admin_key),
        "role": "admin",
        "is_admin": True,
    }
    assert (await visitor.get("/api/v1/servers")).status_code == 200


async def test_who_is_not_signed_in_is_told_so(visitor) -> None:
    assert (await visitor.get("/api/v1/session")).json() == {"signed_in": False}


async def test_over_https_the_cookie_is_secure(api) -> None:
    transport = api.client._transport
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway") as client:
        answer = await client.post(
            "/api/v1/session",
            json={"key": api.admin_key},
            headers={**PAGE, "Origin": "https://gateway"},
        )

    assert "Secure" in answer.headers["set-cookie"]


async def test_link_signs_in_once(api, visitor, connection) -> None:
    token = web_sessions.new_token()
    prefix = keys.prefix_of(api.admin_key)
    assert await web_sessions.add_link(connection, token, key_prefix=prefix, made_by="test")

    first = await sign_in(visitor, {"link": token})
    second = await sign_in(visitor, {"link": token})

    assert (first.status_code, second.status_code) == (200, 410)
    assert (await visitor.get("/api/v1/session")).json()["role"] == "admin"


async def test_link_is_good_for_fifteen_minutes_only(api, visitor, connection) -> None:
    token = web_sessions.new_token()
    prefix = keys.prefix_of(api.admin_key)
    await web_sessions.add_link(connection, token, key_prefix=prefix, made_by="test")
    await connection.execute("UPDATE sign_in_link SET expires_at = now()")

    assert (await sign_in(visitor, {"link": token})).status_code == 410


async def test_link_for_a_key_that_is_not_for_people_is_not_made(connection) -> None:
    agent = await keys.create(
        connection, role=keys.Role.AGENT, server_names=["a"], created_by="test"
    )

    made = await web_sessions.add_link(
        connection, "token", key_prefix=keys.prefix_of(agent), made_by="test"
    )

    assert not made


async def test_database_holds_no_token_in_clear(api, visitor, connection) -> None:
    await sign_in(visitor, {"key": api.admin_key})

    (row,) = await connection.fetch("SELECT * FROM web_session")
    assert row["token_sha256"] == web_sessions.digest(visitor.cookies[sessions.COOKIE])
    assert visitor.cookies[sessions.COOKIE].encode() not in repr(row).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": "hp_00000000_" + "a" * 43}, 403),
        ({"key": "nonsense"}, 403),
        ({"link": "unknown"}, 410),
        ({}, 422),
        ({"key": 1}, 422),
        ({"key": "a", "link": "b"}, 422),
    ],
)
async def test_wrong_credentials_sign_nobody_in(visitor, body, status) -> None:
    answer = await sign_in(visitor, body)

    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


async def test_key_of_an_agent_does_not_sign_in(visitor, connection) -> None:
    key = await keys.create(connection, role=keys.Role.AGENT, server_names=["a"], created_by="t")

    assert (await sign_in(visitor, {"key": key})).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hostpulse-Page": "1"},
        {"Origin": "http://gateway"},
        {"X-Hostpulse-Page": "1", "Origin": "http://evil.example"},
        {"X-Hostpulse-Page": "1", "Origin": "null"},
    ],
    ids=["nothing", "no origin", "no header", "another site", "a sandbox"],
)
async def test_other_sites_can_change_nothing_with_the_cookie(api, visitor, headers) -> None:
    await sign_in(visitor, {"key": api.admin_key})
    silence = {"ends_at": "2999-01-01T00:00:00Z", "reason": "test"}

    refused = await visitor.post("/api/v1/silences", json=silence, headers=headers)
    accepted = await visitor.post("/api/v1/silences", json=silence, headers=PAGE)

    assert (refused.status_code, accepted.status_code) == (403, 201)


async def test_other_sites_can_neither_sign_in_nor_out(api, visitor) -> None:
    await sign_in(visitor, {"key": api.admin_key})

    posted = await visitor.post("/api/v1/session", json={"key": api.admin_key})
    deleted = await visitor.delete("/api/v1/session")

    assert (posted.status_code, deleted.status_code) == (403, 403)
    assert (await visitor.get("/api/v1/session")).status_code == 200


async def test_signing_out_ends_the_session_for_good(api, visitor) -> None:
    await sign_in(visitor, {"key": api.admin_key})
    token = visitor.cookies[sessions.COOKIE]

    answer = await visitor.delete("/api/v1/session", headers=PAGE)

    assert answer.status_code == 204
    visitor.cookies.set(sessions.COOKIE, token)
    assert (await visitor.get("/api/v1/servers")).status_code == 401


async def test_revoked_key_ends_its_sessions_within_a_second(api, visitor, connection) -> None:
    await sign_in(visitor, {"key": api.admin_key})
    await visitor.get("/api/v1/session")

    await keys.revoke(connection, keys.prefix_of(api.admin_key), revoked_by="test")
    api.clock.advance(1.1)

    assert (await visitor.get("/api/v1/servers")).status_code == 401


@pytest.mark.parametrize(
    "change",
    ["last_used_at = now() - interval '12 hours'", "expires_at = now()"],
    ids=["idle", "old"],
)
async def test_session_ends_when_it_is_idle_or_old(api, visitor, connection, change) -> None:
    await sign_in(visitor, {"key": api.admin_key})
    await connection.execute(
        f"UPDATE web_session SET created_at = now() - interval '8 days', {change}"
    )
    api.clock.advance(1.1)

    assert (await visitor.get("/api/v1/servers")).status_code == 401


async def test_reader_sees_and_does_not_change(api, visitor, connection) -> None:
    key = await keys.create(connection, role=keys.Role.READER, created_by="test")
    await sign_in(visitor, {"key": key})

    assert (await visitor.get("/api/v1/rules")).status_code == 200
    assert (await visitor.get("/api/v1/session")).json()["is_admin"] is False
    refused = await visitor.put("/api/v1/rules/cpu_usage", json={}, headers=PAGE)
    assert refused.status_code == 403


async def test_signing_in_is_audited(api, visitor, connection) -> None:
    await sign_in(visitor, {"key": api.admin_key})

    row = await connection.fetchrow("SELECT actor, allowed FROM audit WHERE action='session.begin'")
    assert (row["actor"], row["allowed"]) == (f"key {keys.prefix_of(api.admin_key)}", True)


async def test_signing_out_is_audited_once(api, visitor, connection) -> None:
    await sign_in(visitor, {"key": api.admin_key})
    await visitor.delete("/api/v1/session", headers=PAGE)
    await visitor.delete("/api/v1/session", headers=PAGE)

    rows = await connection.fetch("SELECT actor FROM audit WHERE action = 'session.end'")
    assert [row["actor"] for row in rows] == [f"key {keys.prefix_of(api.admin_key)}"]


async def test_link_is_not_used_up_when_no_session_can_begin(api, visitor, connection) -> None:
    prefix = keys.prefix_of(api.admin_key)
    await web_sessions.add_link(connection, "link", key_prefix=prefix, made_by="test")
    await connection.execute("ALTER TABLE web_session RENAME TO away")

    failed = await sign_in(visitor, {"link": "link"})
    await connection.execute("ALTER TABLE away RENAME TO web_session")
    answer = await sign_in(visitor, {"link": "link"})

    assert failed.status_code >= 500
    assert answer.status_code == 200


@pytest.fixture
async def limited(api, pool):
    """A browser at a gateway with limits, which notes who was turned away."""
    given = limits.Limits(requests_per_s=100, server_bytes_per_s=1, clock=api.clock)
    services = dataclasses.replace(
        api.services,
        limits=given,
        authenticator=auth.Authenticator(pool, clock=api.clock, logins=given.logins),
        denials=denials.Denials(pool, clock=api.clock),
    )
    transport = httpx.ASGITransport(app.create(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize("wrong", [{"link": "unknown"}, {"key": "nonsense"}], ids=["link", "key"])
async def test_who_fails_too_often_has_to_wait_for_links_and_keys(
    api, limited, connection, wrong
) -> None:
    await web_sessions.add_link(
        connection, "good", key_prefix=keys.prefix_of(api.admin_key), made_by="test"
    )
    failed = {
        (await sign_in(limited, wrong)).status_code for _ in range(logins.FAILED_LOGINS.burst)
    }

    waiting = [await sign_in(limited, body) for body in ({"link": "good"}, {"key": api.admin_key})]
    api.clock.advance(float(waiting[0].headers["retry-after"]) + 1)
    answer = await sign_in(limited, {"link": "good"})

    assert failed <= {403, 410}
    assert [each.status_code for each in waiting] == [429, 429]
    assert all(int(each.headers["retry-after"]) >= 1 for each in waiting)
    assert answer.status_code == 200


async def test_signing_in_is_behind_the_limit_of_the_address(limited) -> None:
    answers = [await limited.get("/api/v1/session") for _ in range(4_001)]

    assert [each.status_code for each in answers] == [200] * 4_000 + [429]


async def test_failed_sign_ins_are_audited_with_a_bound(limited, connection) -> None:
    for _ in range(20):
        await sign_in(limited, {"link": "unknown"})

    rows = await connection.fetch(
        "SELECT actor, action, address, detail FROM audit WHERE NOT allowed"
    )
    assert [tuple(row)[:3] for row in rows] == [("(unknown)", "session.begin", "127.0.0.1")]
    assert "unknown, used or older" in rows[0]["detail"]["reason"]
