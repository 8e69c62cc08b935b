from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from agent import app, settings
from agent.session import Timeouts
from hostpulse.v1 import telemetry_pb2

PATIENCE_S = 15.0
ROOT = Path(__file__).parents[3]

# `python -m agent`, but with one collector that never comes back.
HANGING_AGENT = """
import sys, threading
from agent import __main__, collectors
from hostpulse.v1 import telemetry_pb2
class Hanging:
    family = telemetry_pb2.FAMILY_DISK_USAGE
    def collect(self):
        threading.Event().wait()
real = collectors.build
collectors.build = lambda chosen: (
    Hanging(), *(each for each in real(chosen) if each.family != Hanging.family))
sys.exit(__main__.main())
"""


@pytest.fixture
def environment(tmp_path):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HOSTPULSE_")}
    return kept | {
        "HOSTPULSE_API_KEY": "secret-key",
        "HOSTPULSE_DATA_DIR": str(tmp_path / "data"),
        "HOSTPULSE_SERVER_NAME": "web-1",
        "PYTHONPATH": str(ROOT),
    }


async def start(environment, *arguments, cwd=ROOT):
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, cwd=cwd, stderr=asyncio.subprocess.PIPE
    )


async def end(process):
    """Ask a process to stop; return its status, what it logged, and the seconds it took."""
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        _, logged = await process.communicate()
    return process.returncode, logged.decode(), time.monotonic() - asked


async def test_the_agent_delivers_this_machine_and_says_goodbye_at_sigterm(serve, environment):
    delivered = asyncio.Event()

    async def take_one(conversation):
        await conversation.welcome(time_unix_ns=time.time_ns())
        await conversation.ack(await conversation.read_batch())
        delivered.set()
        await conversation.ack_everything()

    async with serve(take_one) as (gateway, port):
        process = await start(environment, "-m", "agent", "--gateway", f"127.0.0.1:{port}")
        async with asyncio.timeout(PATIENCE_S):
            await delivered.wait()
        status, logged, took_s = await end(process)
        await gateway.ended(1)

        received = gateway.conversations[0].received
        assert (status, "Traceback" in logged) == (0, False), logged
        assert took_s < 5.0
        batch = next(each.batch for each in received if each.HasField("batch"))
        assert batch.memory.total_bytes > 0
        assert batch.agent_health.memory_rss_bytes > 0
        assert len(batch.boot_id) == 16
        assert received[-1].goodbye.reason == telemetry_pb2.GOODBYE_REASON_SHUTDOWN


async def test_an_agent_whose_code_was_replaced_says_that_it_is_upgraded(
    serve, environment, tmp_path
):
    installed = tmp_path / "installed"
    for package in ("agent", "hostpulse"):
        shutil.copytree(ROOT / package, installed / package)
    welcomed = asyncio.Event()

    async def welcome(conversation):
        await conversation.welcome(time_unix_ns=time.time_ns())
        await conversation.ack(await conversation.read_batch())  # it has heard the welcome
        welcomed.set()
        await conversation.ack_everything()

    async with serve(welcome) as (gateway, port):
        process = await start(
            environment | {"PYTHONPATH": str(installed)},
            *("-m", "agent", "--gateway", f"127.0.0.1:{port}"),
            cwd=installed,
        )
        async with asyncio.timeout(PATIENCE_S):
            await welcomed.wait()
        newer = installed / "newer"
        newer.write_text('__version__ = "99.0.0"')
        newer.replace(installed / "hostpulse/__init__.py")
        await end(process)
        await gateway.ended(1)

    goodbye = gateway.conversations[0].received[-1].goodbye
    assert goodbye.reason == telemetry_pb2.GOODBYE_REASON_UPGRADE


async def test_a_hung_collector_does_not_keep_the_agent_from_exiting(serve, environment):
    delivered = asyncio.Event()

    async def never_ack(conversation):
        await conversation.welcome()
        delivered.set()
        while await conversation.read():
            pass

    async with serve(never_ack) as (_, port):
        arguments = ("-c", HANGING_AGENT, "--gateway", f"127.0.0.1:{port}")
        process = await start(environment, *arguments)
        async with asyncio.timeout(PATIENCE_S):
            await delivered.wait()
        status, logged, took_s = await end(process)

    assert (status, "Traceback" in logged) == (0, False), logged
    assert took_s < 5.0


async def test_a_wrong_setting_is_one_line_and_status_2(environment):
    process = await start(environment, "-m", "agent", "--interval-s", "2")

    async with asyncio.timeout(PATIENCE_S):
        _, logged = await process.communicate()

    assert process.returncode == 2
    assert logged.decode().splitlines() == [
        "hostpulse agent: --interval-s must be between 5 and 60 seconds, got '2'"
    ]


class Counting:
    family = telemetry_pb2.FAMILY_CPU

    def collect(self):
        return [telemetry_pb2.CpuSample(load1=1.0)]


class Failing:
    family = telemetry_pb2.FAMILY_MEMORY

    def collect(self):
        raise OSError("no such file")


async def test_a_collector_that_raises_is_missing_and_the_journal_has_what_was_collected(
    serve, environment, tmp_path
):
    stop = asyncio.Event()

    async def take_one(conversation):
        await conversation.welcome()
        await conversation.ack(await conversation.read_batch())
        stop.set()
        await conversation.ack_everything()

    async with serve(take_one) as (gateway, port):
        chosen = settings.load(["--gateway", f"127.0.0.1:{port}"], environment)
        async with asyncio.timeout(PATIENCE_S):
            await app.run(
                chosen,
                stop,
                observed=(Counting(), Failing()),
                timeouts=Timeouts(finish_s=0.5),
                journal=tmp_path / "journal",
            )

        batch = gateway.conversations[0].received[1].batch
        assert (batch.HasField("cpu"), batch.HasField("memory")) == (True, False)
        assert [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()] == [
            {
                "epoch": batch.epoch,
                "seq": 1,
                "time_unix_ns": batch.time_unix_ns,
                "samples": {"cpu": 1, "agent_health": 1},
            }
        ]
