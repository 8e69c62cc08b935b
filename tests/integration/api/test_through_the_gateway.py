from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api import app, times
from collector_gateway.app import Gateway
from collector_gateway.settings import GatewaySettings
from storage import keys


@pytest.fixture
async def gateway(database):
    """Run a whole gateway in this process, on ports of its own."""
    settings = GatewaySettings(
        database_url=database, grpc_listen="127.0.0.1:0", http_listen="127.0.0.1:0"
    )
    stop = asyncio.Event()
    made = Gateway(settings, app.create)
    running = asyncio.create_task(made.run(stop))
    started = asyncio.create_task(made.started.wait())
    await asyncio.wait({running, started}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert started.done(), running
    yield made
    stop.set()
    await asyncio.wait_for(running, 15)


async def test_what_is_acknowledged_is_there_at_once_and_a_revoked_key_is_soon_refused(
    gateway, connection
):
    key = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    now = datetime.now(UTC)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gateway.http_port}", headers={"X-API-Key": key}
    ) as client:
        posted = await client.post(
            "/api/v1/metrics",
            json={
                "server_id": "web-1",
                "timestamp": times.format_time(now),
                "metrics": {"cpu": {"usage_percent": 45.2, "cores": [1.5, 2.5]}},
            },
        )
        answer = await client.get(
            "/api/v1/metrics",
            params={
                "server_id": "web-1",
                "metric": "cpu.usage_percent",
                "from": times.format_time(now - timedelta(minutes=1)),
                "to": times.format_time(now + timedelta(minutes=1)),
            },
        )
        server = (await client.get("/api/v1/servers/web-1")).json()
        own = await client.get("/metrics")
        await keys.revoke(connection, keys.prefix_of(key) or "", revoked_by="test")
        async with asyncio.timeout(3):
            while (await client.get("/api/v1/servers")).status_code != 401:
                await asyncio.sleep(0.05)

    assert posted.status_code == 202
    assert answer.json()["series"] == [{"labels": {}, "points": [[times.format_time(now), 45.2]]}]
    assert server["status"] == "online"
    assert "hostpulse_" in own.text
    assert "server" not in own.headers
