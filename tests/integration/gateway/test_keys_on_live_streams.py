"""A key that ends, ends on streams that are open, too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from collector_gateway import live, tokens
from storage import key_rotation, keys
from tests.integration.gateway.conftest import running_gateway

if TYPE_CHECKING:
    import asyncpg

WITHIN_S = 1.0


@pytest.fixture
async def agent_key(connection):
    return await keys.create(
        connection, role=keys.Role.AGENT, server_names=["a"], created_by="test"
    )


async def ended_after_s(agent) -> float:
    """Wait for the end of a stream by its key; return how long that took."""
    begun = time.monotonic()
    code, detail = await agent.status()
    assert code is grpc.StatusCode.UNAUTHENTICATED, detail
    return time.monotonic() - begun


async def test_a_revoked_key_ends_its_streams_within_a_second(harness, connection, agent_key):
    async with (
        harness.stream(key=agent_key) as agent,
        harness.stream(epoch=6) as other,
    ):
        await agent.hello("a")
        await other.hello("b", machine_id="m2")

        await keys.revoke(connection, keys.prefix_of(agent_key), revoked_by="test")

        assert await ended_after_s(agent) < WITHIN_S
        await other.send_batch(1)
        assert (await other.ack()).seq == 1
    async with harness.stream(key=agent_key) as again:
        code, _ = await again.status()
        assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_rotated_key_ends_after_its_grace(harness, connection, agent_key):
    async with harness.stream(key=agent_key) as agent:
        await agent.hello("a")

        new, _ = await key_rotation.rotate(
            connection,
            keys.prefix_of(agent_key),
            grace=timedelta(seconds=1.5),
            rotated_by="test",
        )
        await agent.send_batch(1)
        assert (await agent.ack()).seq == 1

        took_s = await ended_after_s(agent)
        assert 0.5 < took_s < 1.5 + WITHIN_S
    async with harness.stream(key=new, epoch=6) as agent:
        await agent.hello("a")


async def test_an_expired_key_ends_its_streams(harness, connection):
    key = await keys.create(
        connection,
        role=keys.Role.AGENT,
        server_names=["a"],
        created_by="test",
        expires_at=datetime.now(UTC) + timedelta(seconds=1.2),
    )
    async with harness.stream(key=key) as agent:
        await agent.hello("a")

        assert await ended_after_s(agent) < 1.2 + WITHIN_S


async def test_a_revocation_that_nobody_heard_is_found_by_the_net(harness, connection, agent_key):
    async with harness.stream(key=agent_key) as agent:
        await agent.hello("a")
        await connection.execute("ALTER TABLE api_key DISABLE TRIGGER api_key_changed")

        await keys.revoke(connection, keys.prefix_of(agent_key), revoked_by="test")

        assert await ended_after_s(agent) < live.NET_INTERVAL_S + WITHIN_S


async def test_a_listener_that_lost_its_connection_listens_again(
    harness, connection, agent_key, monkeypatch
):
    monkeypatch.setattr(live, "NET_INTERVAL_S", 3600.0)  # without the net
    listening = "SELECT pid FROM pg_stat_activity WHERE application_name = 'hostpulse keys'" \
        " AND datname = current_database()"  # fmt: skip
    async with harness.stream(key=agent_key) as agent:
        await agent.hello("a")
        before = await until_some(connection, listening)
        monkeypatch.setattr(live, "PING_INTERVAL_S", 0.05)
        await asyncio.sleep(0)
        await connection.execute(f"SELECT pg_terminate_backend({before})")
        async with asyncio.timeout(40):  # the pause that it is in may be one of ten seconds
            while await until_some(connection, listening) == before:
                await asyncio.sleep(0.05)

        await keys.revoke(connection, keys.prefix_of(agent_key), revoked_by="test")

        await ended_after_s(agent)


async def until_some(connection: asyncpg.Connection, query: str) -> int:
    async with asyncio.timeout(30):
        while (found := await connection.fetchval(query)) is None:
            await asyncio.sleep(0.05)
    return found


async def test_a_stream_ends_with_its_token_and_with_the_trust_in_its_signer(
    database, admin_key, tmp_path, monkeypatch
):
    monkeypatch.setattr(tokens, "LEEWAY_S", 0)
    signer, path = ed25519.Ed25519PrivateKey.generate(), tmp_path / "key.pem"

    def trust(key):
        path.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def token(server, seconds):
        claims = {"aud": "hp", "exp": time.time() + seconds, "role": "agent", "server": server}
        return jwt.encode(claims, signer, algorithm="EdDSA")

    trust(signer)
    async with (
        running_gateway(
            database, admin_key, jwt_public_key=str(path), jwt_audience="hp"
        ) as harness,
        harness.stream(key=token("short", 2)) as short,
        harness.stream(key=token("long", 600), epoch=6) as long,
    ):
        await short.hello("short")
        await long.hello("long", machine_id="m2")

        assert await ended_after_s(short) < 2 + WITHIN_S
        trust(ed25519.Ed25519PrivateKey.generate())

        assert await ended_after_s(long) < live.NET_INTERVAL_S + tokens.LOOK_NS / 1e9 + WITHIN_S


async def test_thousands_of_streams_cost_one_query_a_look(connection, database, monkeypatch):
    from collector_gateway.auth import Authenticator
    from collector_gateway.principals import Principal
    from hostpulse.clock import SystemClock
    from storage.database import open_pool

    made = await connection.fetch(
        "INSERT INTO api_key (prefix, key_sha256, role, server_names, created_by)"
        " SELECT to_char(n, 'FM00000000'), sha256(n::text::bytea), 'agent', ARRAY['s' || n], 'test'"
        " FROM generate_series(1, 5000) n RETURNING id, prefix"
    )
    asked = []
    ask = keys.check_ids

    async def counting(opened, ids):
        asked.append(len(ids))
        return await ask(opened, ids)

    monkeypatch.setattr(keys, "check_ids", counting)
    ended = []
    stop = asyncio.Event()
    async with open_pool(database, "test", max_size=2, statement_timeout_s=5) as pool:
        clock = SystemClock()
        watched = live.Live(
            database,
            pool=pool,
            authenticator=Authenticator(pool, clock=clock),
            tokens=None,
            clock=clock,
        )
        with contextlib.ExitStack() as stack:
            for row in made:
                who = Principal(
                    key_id=row["id"],
                    prefix=row["prefix"],
                    role=keys.Role.AGENT,
                    server_names=frozenset(),
                )
                stack.enter_context(watched.hold(who, ended.append))
            running = asyncio.gather(watched.watch(stop), watched.listen(stop))
            async with asyncio.timeout(10):
                while not asked:
                    await asyncio.sleep(0.02)
            await until_some(
                connection,
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'hostpulse keys'"
                " AND datname = current_database() AND query LIKE '%LISTEN%'",
            )
            begun = time.monotonic()
            await connection.execute("UPDATE api_key SET revoked_at = now() WHERE id % 2 = 0")
            async with asyncio.timeout(10):
                while len(ended) < len(made) // 2:
                    await asyncio.sleep(0.01)
            took_s = time.monotonic() - begun
            stop.set()
            await running

    assert took_s < WITHIN_S
    assert len(asked) <= 6
