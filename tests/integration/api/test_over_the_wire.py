from __future__ import annotations

import asyncio
import json
import socket
from datetime import timedelta

import httpx
import pytest
import uvicorn

from api import app, bodies, times


@pytest.fixture
async def address(api):
    """Serve the application with uvicorn on a free port of this machine."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            app.create(api.services), log_config=None, lifespan="off", server_header=False
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()
    server.should_exit = True
    await asyncio.wait_for(serving, 10)
    listener.close()


def head(api, *lines: str) -> bytes:
    first = ["POST /api/v1/metrics HTTP/1.1", "Host: gateway", f"X-API-Key: {api.admin_key}"]
    return ("\r\n".join([*first, *lines]) + "\r\n\r\n").encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), 5)
    return int(line.split()[1])


async def test_an_announced_body_over_the_limit_is_refused_before_it_comes(api, address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(head(api, f"Content-Length: {bodies.MAX_BYTES + 1}"))

    assert await status_of(reader) == 413

    writer.close()
    await writer.wait_closed()


async def test_a_chunked_body_is_refused_at_the_limit_and_not_read_to_its_end(api, address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(head(api, "Transfer-Encoding: chunked"))
    for _ in range(bodies.MAX_BYTES // 4096 + 1):
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")

    assert await status_of(reader) == 413
    rest = await asyncio.wait_for(reader.read(), 5)  # the gateway closes: it wants no more
    assert b"application/problem+json" in rest

    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_away_in_its_body_leaves_the_gateway_well(api, address):
    _, writer = await asyncio.open_connection(*address)
    writer.write(head(api, "Content-Length: 1000") + b'{"server_id":')
    await writer.drain()
    writer.transport.abort()

    async with httpx.AsyncClient(base_url="http://{}:{}".format(*address)) as client:
        answer = await client.get("/healthz")

    assert answer.status_code == 200
    assert "server" not in answer.headers


async def test_many_posts_on_one_connection_are_all_there_afterwards(api, address):
    async with httpx.AsyncClient(
        base_url="http://{}:{}".format(*address), headers={"X-API-Key": api.admin_key}
    ) as client:
        for second in range(20):
            moment = times.format_time(api.now() - timedelta(seconds=second))
            body = {
                "server_id": "web-1",
                "timestamp": moment,
                "metrics": {"cpu": {"usage_percent": second}},
            }
            answer = await client.post("/api/v1/metrics", content=json.dumps(body))
            assert answer.status_code == 202
        query = {
            "server_id": "web-1",
            "metric": "cpu.usage_percent",
            "from": times.format_time(api.now() - timedelta(minutes=1)),
            "to": times.format_time(api.now() + timedelta(seconds=1)),
        }
        [series] = (await client.get("/api/v1/metrics", params=query)).json()["series"]

    assert [value for _, value in series["points"]] == list(range(19, -1, -1))
