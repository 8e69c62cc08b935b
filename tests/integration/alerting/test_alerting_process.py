"""`hostpulse alerting` as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

import asyncpg
import pytest

from alerting import records
from storage import moving


async def start(database_url: str, data_dir) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alerting"),
        env={
            **os.environ,
            "HOSTPULSE_DATABASE_URL": database_url,
            "HOSTPULSE_DATA_DIR": str(data_dir),
            "HOSTPULSE_ALERT_INTERVAL_S": "1",
            "HOSTPULSE_LOG_FORMAT": "json",
        },
        stderr=asyncio.subprocess.PIPE,
    )


async def read_until(process: asyncio.subprocess.Process, event: str) -> str:
    """Return what the process logged up to and with the event."""
    assert process.stderr is not None
    said = ""
    async with asyncio.timeout(20):
        while event not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line.decode()
    return said


async def test_it_evaluates_stands_in_the_way_of_a_move_and_ends_cleanly_at_sigterm(
    house, tmp_path
):
    process = await start(house.dsn, tmp_path)
    await read_until(process, "alerting_started")
    async with asyncio.timeout(20):
        while not await house.connection.fetchval(
            "SELECT true FROM setting WHERE key = $1", records.HEARTBEAT
        ):
            await asyncio.sleep(0.05)

    with pytest.raises(moving.MoveRefused, match="stop gateways and alert workers first"):
        await anext(moving.move(house.connection, house.connection, by="test"))
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(8):
        _, rest = await process.communicate()

    assert process.returncode == 0, rest.decode()
    assert "Traceback" not in rest.decode()


async def test_it_waits_for_a_database_and_can_be_stopped_meanwhile(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        process = await start(f"postgresql://u:pa55word@127.0.0.1:{port}/x", tmp_path)
        said = await read_until(process, "database_lost")

        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(8):
            _, rest = await process.communicate()

    assert process.returncode == 0, rest.decode()
    assert "pa55word" not in said + rest.decode()


async def test_it_survives_losing_its_connections(house, tmp_path):
    process = await start(house.dsn, tmp_path)
    await read_until(process, "alerting_started")
    async with asyncio.timeout(20):
        while not await house.connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'hostpulse alert cycle' AND datname = current_database()"
        ):
            await asyncio.sleep(0.05)
    await house.connection.execute("DELETE FROM setting")

    async with asyncio.timeout(20):
        while not await house.connection.fetchval("SELECT count(*) FROM setting"):
            await asyncio.sleep(0.05)

    assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(8):
        await process.communicate()
    assert process.returncode == 0


async def test_an_unmigrated_database_is_refused_with_the_remedy(house, tmp_path):
    base = house.dsn.rpartition("/")[0]
    name = f"empty_{os.getpid()}"
    admin = await asyncpg.connect(f"{base}/postgres")
    await admin.execute(f"CREATE DATABASE {name}")
    try:
        process = await start(f"{base}/{name}", tmp_path)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

    assert process.returncode == 2
    assert "hostpulse migrate" in said.decode()


async def test_the_worker_never_shows_its_secrets(house, tmp_path):
    process = await start(house.dsn, tmp_path)
    said = await read_until(process, "alerting_started")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(8):
        _, rest = await process.communicate()

    password = house.dsn.partition("://")[2].partition("@")[0].partition(":")[2]
    assert password not in said + rest.decode()
