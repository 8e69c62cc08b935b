"""200 agents on two gateways: an interval that is set is applied on all at once.

The agents are real (`agent.app.run`: spool, uplink, stream, config file), in one process that reads
one family; gateways and the command are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from agent import app, settings
from agent.configuration import FILE
from hostpulse.v1 import telemetry_pb2 as pb
from storage import keys
from tests.e2e.fleet import Gateway
from tests.e2e.processes import say

if TYPE_CHECKING:
    from collections.abc import Sequence

AGENTS = 200
APPLIED_WITHIN_S = 2.0
STATES = """
SELECT count(*) FROM server_config
WHERE result_revision = revision AND applied AND revision = $1
"""


class Cpu:
    family = pb.FAMILY_CPU

    def collect(self) -> Sequence[pb.CpuSample]:
        return [pb.CpuSample(usage_percent=50.0)]


class Fleet:
    """Agents in this process, each with its own key, data directory and stream."""

    def __init__(self, folder, gateways, count, key):
        self._chosen = [
            replace(
                settings.load(
                    ["--server-name", f"host-{n}", "--data-dir", str(folder / f"host-{n}")],
                    {
                        "HOSTPULSE_API_KEY": key,
                        "HOSTPULSE_GATEWAY": gateways[n % len(gateways)].address,
                    },
                ),
                intervals_s={pb.FAMILY_CPU: 10.0},
            )
            for n in range(count)
        ]
        self._stop = asyncio.Event()
        self._running = []

    async def __aenter__(self):
        for chosen in self._chosen:
            run = app.run(chosen, self._stop, observed=[Cpu()])
            self._running.append(asyncio.create_task(run))
            await asyncio.sleep(0.01)  # as a fleet starts: not all in one moment
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await asyncio.gather(*self._running)


async def until(connection, expected, sql, *arguments, within_s=30.0):
    begun = time.monotonic()
    async with asyncio.timeout(within_s):
        while await connection.fetchval(sql, *arguments) != expected:
            await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def command(ground, dsn, *arguments):
    """Run `hostpulse config …`; return what it printed and how long it took after the commit."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        "config",
        *arguments,
        "--json",
        env=ground.environment(HOSTPULSE_DATABASE_URL=dsn),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


@pytest.fixture(autouse=True)
def quiet():
    """Two hundred agents have a lot to say."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(180)
async def test_an_interval_is_applied_on_200_agents_within_two_seconds(
    ground, database, connection
):
    key = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    gateways = [Gateway(ground, database, f"gateway-{n}") for n in (1, 2)]
    for gateway in gateways:
        gateway.start()
    for gateway in gateways:
        await asyncio.to_thread(gateway.wait_until, 200)
    async with Fleet(ground.folder, gateways, AGENTS, key):
        live = "SELECT count(*) FROM server WHERE session IS NOT NULL"
        await until(connection, AGENTS, live, within_s=60)
        await until(connection, AGENTS, "SELECT count(*) FROM server_config")

        made = await command(ground, database, "set", "all", "interval_s=5")
        set_at = datetime.fromisoformat(made["time"])
        await until(connection, AGENTS, STATES, made["revision"])
        last = await connection.fetchval("SELECT max(result_at) FROM server_config")
        took_s = (last - set_at).total_seconds()
        in_force = await connection.fetch("SELECT DISTINCT family, interval_s FROM family_interval")

        begun = datetime.now(UTC)
        data = (
            "SELECT count(*) FROM (SELECT server_id, time - lag(time) OVER"
            " (PARTITION BY server_id ORDER BY time) AS gap FROM cpu WHERE time > $1) AS gaps"
            " WHERE gap BETWEEN interval '4.5 s' AND interval '5.5 s'"
        )
        shown = f"SELECT ({data}) >= $2"
        await until(connection, True, shown, begun, AGENTS)

        bad = await command(ground, database, "set", "all", "interval_s=20")
        await until(connection, AGENTS, STATES, bad["revision"])
        back = await command(ground, database, "rollback", "all")
        await until(connection, AGENTS, STATES, back["revision"])
    say(f"applied on {AGENTS} agents {took_s:.2f} s after `config set`")
    kept = [(ground.folder / f"host-{n}" / FILE).stat().st_mode & 0o777 for n in range(AGENTS)]
    for gateway in gateways:
        assert await asyncio.to_thread(gateway.end, 15) == 0

    assert took_s < APPLIED_WITHIN_S
    assert [tuple(row) for row in in_force] == [("cpu", 5.0)]
    assert set(kept) == {0o600}
