"""A whole agent and a config that is pushed to it: applied while it runs, kept over its death."""

from __future__ import annotations

import asyncio
import json

from agent import app, settings
from hostpulse.v1 import telemetry_pb2 as pb

PATIENCE_S = 15.0
PUSHED = pb.AgentConfig(
    revision=7,
    intervals=[pb.FamilyInterval(family=pb.FAMILY_CPU, interval_s=5.0)],
    disabled_families=[pb.FAMILY_MEMORY, pb.FAMILY_AGENT_HEALTH],
    enabled_families=[pb.FAMILY_TCP],
)


class Reading:
    """A collector that reads nothing and says so."""

    def __init__(self, family, sample):
        self.family = family
        self._sample = sample

    def collect(self):
        return [self._sample]


def observed():
    return [
        Reading(pb.FAMILY_CPU, pb.CpuSample(load1=1.0)),
        Reading(pb.FAMILY_MEMORY, pb.MemorySample(total_bytes=1)),
        Reading(pb.FAMILY_TCP, pb.TcpSample(total=1)),
    ]


def chosen(folder, port):
    off = "disk_usage,disk_io,network,tcp,process,pressure"
    return settings.load(
        ["--server-name", "web-1", "--data-dir", str(folder), "--disabled-families", off],
        {"HOSTPULSE_API_KEY": "secret-key", "HOSTPULSE_GATEWAY": f"127.0.0.1:{port}"},
    )


def families_of(journal):
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    return [sorted(each["samples"]) for each in entries], {each["epoch"] for each in entries}


async def run_until(folder, port, journal, done):
    stop = asyncio.Event()
    running = asyncio.create_task(
        app.run(chosen(folder, port), stop, observed=observed(), journal=journal)
    )
    async with asyncio.timeout(PATIENCE_S):
        await done()
    stop.set()
    await running


async def test_a_config_is_applied_while_the_agent_runs_and_outlives_it_without_a_gateway(
    serve, tmp_path
):
    results = []
    applied, ticked = asyncio.Event(), asyncio.Event()
    first, second = tmp_path / "first.journal", tmp_path / "second.journal"

    async def push(conversation):
        hello = await conversation.welcome()
        assert (hello.config_revision, len(hello.intervals)) == (0, 3)
        await conversation.ack(await conversation.read_batch())
        await conversation.say(config=PUSHED)
        while request := await conversation.read():
            if request.HasField("config_result"):
                results.append(request.config_result)
                applied.set()
            elif request.HasField("batch"):
                await conversation.ack(request.batch)
                if applied.is_set():
                    ticked.set()

    async with serve(push) as (_, port):
        await run_until(tmp_path / "data", port, first, ticked.wait)

    async def one_tick():
        while not (second.exists() and second.read_text()):
            await asyncio.sleep(0.02)

    await run_until(tmp_path / "data", port, second, one_tick)  # nobody listens there any more

    (result,) = results
    assert (result.revision, result.status) == (7, pb.CONFIG_STATUS_APPLIED)
    assert {each.family: each.interval_s for each in result.intervals} == {
        pb.FAMILY_CPU: 5.0,
        pb.FAMILY_TCP: 10.0,
    }
    before, epochs = families_of(first)
    assert before[0] == ["agent_health", "cpu", "memory"]
    assert all("memory" not in each for each in before[1:])
    assert "cpu" in before[-1] or "tcp" in before[-1]
    assert len(epochs) == 1  # the same process all along
    after, _ = families_of(second)
    assert after[0] == ["cpu", "tcp"]
