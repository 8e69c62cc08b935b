from __future__ import annotations

import asyncio

import httpx
import pytest

from storage import moving


async def test_the_gateway_is_ready_and_says_so_over_http(harness):
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{harness.gateway.http_port}"
    ) as client:
        async with asyncio.timeout(10):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
        metrics = await client.get(
            "/metrics", headers={"Authorization": f"Bearer {harness.admin_key}"}
        )

    assert "hostpulse_sessions" in metrics.text
    assert "hostpulse_database_up 1.0" in metrics.text


async def test_a_database_that_an_idle_gateway_uses_is_not_moved(harness, connection):
    async with asyncio.timeout(10):
        while not await connection.fetchval(moving.IN_USE):  # its lasting connection
            await asyncio.sleep(0.02)

    with pytest.raises(moving.MoveRefused, match="stop gateways and alert workers first"):
        await anext(moving.move(connection, connection, by="test"))
