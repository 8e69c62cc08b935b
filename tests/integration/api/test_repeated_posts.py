from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api import app, times
from collector_gateway.app import Gateway
from collector_gateway.settings import GatewaySettings
from storage import keys

URL = "/api/v1/metrics"


@pytest.fixture
async def clients(database, connection):
    """Clients of two gateways on one database."""
    key = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    stop = asyncio.Event()
    gateways, running = [], []
    for _ in range(2):
        settings = GatewaySettings(
            database_url=database, grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0"
        )
        gateways.append(Gateway(settings, app.create))
        running.append(asyncio.create_task(gateways[-1].run(stop)))
        async with asyncio.timeout(20):
            await gateways[-1].started.wait()
    made = [
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{each.http_port}", headers={"X-API-Key": key}, timeout=20
        )
        for each in gateways
    ]
    yield made
    for client in made:
        await client.aclose()
    stop.set()
    async with asyncio.timeout(15):
        await asyncio.gather(*running)


NOW = datetime.now(UTC).replace(microsecond=0)


def body(usage=45.2, *, at=NOW, name="web-1"):
    return {
        "server_id": name,
        "timestamp": times.format_time(at),
        "metrics": {"cpu": {"usage_percent": usage}},
    }


async def rows(connection):
    return await connection.fetchval("SELECT count(*) FROM cpu")


async def test_a_repeat_with_its_key_is_answered_the_same_and_stored_once(clients, connection):
    headers = {"Idempotency-Key": "tick-1"}

    answers = [
        await client.post(URL, json=body(), headers=headers) for client in (*clients, *clients)
    ]

    assert {answer.status_code for answer in answers} == {202}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert await rows(connection) == 1


async def test_a_repeat_without_a_key_is_known_by_what_it_says(clients, connection):
    first = await clients[0].post(URL, json=body())
    respelled = await clients[1].post(
        URL, json=dict(reversed(body().items())), headers={"X-Other": "1"}
    )
    another = await clients[0].post(URL, json=body(46.0))
    later = await clients[0].post(URL, json=body(at=NOW - timedelta(seconds=10)))

    assert {each.status_code for each in (first, respelled, another, later)} == {202}
    assert await rows(connection) == 3


async def test_the_same_key_with_another_body_is_refused_and_nothing_of_it_is_stored(
    clients, connection
):
    headers = {"Idempotency-Key": "tick-1"}
    await clients[0].post(URL, json=body(), headers=headers)

    refused = await clients[1].post(URL, json=body(99.0), headers=headers)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await rows(connection) == 1


async def test_a_key_counts_for_its_server_alone(clients, connection):
    headers = {"Idempotency-Key": "tick-1"}

    for name in ("web-1", "web-2"):
        answer = await clients[0].post(URL, json=body(name=name), headers=headers)
        assert answer.status_code == 202

    assert await rows(connection) == 2


async def test_many_at_once_through_two_gateways_are_stored_once_each(clients, connection):
    posts = [
        clients[i % 2].post(URL, json=body(float(n)), headers={"Idempotency-Key": f"tick-{n}"})
        for n in range(20)
        for i in range(4)
    ]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*posts)

    assert {answer.status_code for answer in answers} == {202}
    assert await rows(connection) == 20
    assert await connection.fetchval("SELECT count(*) FROM http_request") == 20


async def test_two_bodies_that_race_for_one_key_store_one_of_them(clients, connection):
    headers = {"Idempotency-Key": "tick-1"}

    answers = await asyncio.gather(
        *(clients[n % 2].post(URL, json=body(float(n)), headers=headers) for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [202, 422, 422, 422, 422, 422]
    assert await rows(connection) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "t\tb"])
async def test_a_key_that_can_not_be_one_is_refused_by_name(clients, connection, key):
    answer = await clients[0].post(URL, json=body(), headers={"Idempotency-Key": key})

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]
    assert await rows(connection) == 0
