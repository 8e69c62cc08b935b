"""How fast a fleet's backlog drains after an outage, and how late fresh ticks are meanwhile.

    python -m bench.drain [--agents 50] [--hours 6] [--dsn DSN]

Each agent has a real spool on disk with a full tick for every 10 s of the outage, and the real
uplink; all run in this process. They come back at once, to a real gateway process and the embedded
PostgreSQL, and go on to take a full tick every 10 s. Prints how many hours of backlog an hour
drains, and the time from a fresh tick to its ack, which follows the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from agent import batches, uplink
from agent.buffer import BufferBounds
from agent.collectors import CollectorSettings
from agent.configuration import Configuration
from agent.counters import Counters
from agent.health import ClockOffset
from agent.identity import Identity
from agent.plan import Plan
from agent.settings import ApiKey
from agent.spool_buffer import SpoolBuffer
from bench import databases, gateways
from bench.ticks import full_tick
from hostpulse.clock import NS_PER_S, SystemClock
from hostpulse.v1 import telemetry_pb2 as pb
from storage import database

INTERVAL_S = 10
BEFORE, NOW = b"the boot before!", b"and the boot now"


class WatchedSpool(SpoolBuffer):
    """Notes when fresh batches were put and settled."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, boot_id=NOW)
        self.put_s: dict[tuple[int, int], float] = {}
        self.lags_s: list[float] = []

    def put(self, batch: batches.NumberedBatch) -> None:
        self.put_s[batch.epoch, batch.seq] = time.monotonic()
        super().put(batch)

    def settle(self, epoch: int, seq: int) -> bool:
        begun_s = self.put_s.pop((epoch, seq), None)
        if begun_s is not None:
            self.lags_s.append(time.monotonic() - begun_s)
        return super().settle(epoch, seq)


class Agent:
    """One agent after its outage."""

    def __init__(self, root: Path, number: int, gateway: str, key: str, hours: float) -> None:
        self.clock = SystemClock()
        chance = random.Random(number)
        self.ticks = [full_tick(chance) for _ in range(16)]
        data_dir = root / f"agent-{number}"
        self._fill(data_dir, round(hours * 3600 / INTERVAL_S))
        self.buffer = WatchedSpool(data_dir)
        self.backlog = self.buffer.stats().batches
        self.numbering = batches.Numbering(boot_id=NOW)
        self.uplink = uplink.Uplink(
            uplink.UplinkSettings(
                gateways=[gateway],
                server_name=f"host-{number}",
                api_key=ApiKey(key),
                tls=None,
            ),
            identity=Identity(machine_id=f"m{number}", boot_id=NOW, host=pb.HostFacts()),
            buffer=self.buffer,
            configuration=Configuration(
                Plan(
                    intervals_s={pb.FAMILY_CPU: float(INTERVAL_S)},
                    collectors=CollectorSettings(),
                    spool=BufferBounds(),
                )
            ),
            numbering=self.numbering,
            counters=Counters(),
            offset=ClockOffset(self.clock),
            clock=self.clock,
        )

    def _fill(self, data_dir: Path, count: int) -> None:
        """Write the spool that the outage left, by a process of the boot before."""
        buffer = SpoolBuffer(data_dir, boot_id=BEFORE)
        numbering = batches.Numbering(boot_id=BEFORE)
        now_ns = self.clock.wall_ns()
        for index in range(count):
            tick = batches.Tick(
                time_unix_ns=now_ns - (count - index) * INTERVAL_S * NS_PER_S,
                monotonic_ns=index * INTERVAL_S * NS_PER_S,
                samples={},
            )
            batch = pb.MetricBatch.FromString(self.ticks[index % 16].SerializeToString())
            buffer.put(numbering.number(batch, tick))
        buffer.close()

    async def collect(self, stop: asyncio.Event, offset_s: float) -> None:
        """Take a tick every 10 s."""
        await asyncio.sleep(offset_s)
        index = 0
        while not stop.is_set():
            tick = batches.Tick(
                time_unix_ns=self.clock.wall_ns(),
                monotonic_ns=self.clock.monotonic_ns(),
                samples={},
            )
            batch = pb.MetricBatch.FromString(self.ticks[index % 16].SerializeToString())
            self.buffer.put(self.numbering.number(batch, tick))
            self.uplink.notify()
            index += 1
            await asyncio.sleep(INTERVAL_S)


async def measure(
    options: argparse.Namespace, root: Path, dsn: str, served: gateways.Gateways
) -> None:
    (address,) = served.addresses
    begun = time.monotonic()
    agents = [Agent(root, n, address, served.key, options.hours) for n in range(options.agents)]
    print(f"spools filled in     {time.monotonic() - begun:.1f} s")
    await drain(agents, options.hours, served.processes[0])
    await compare(dsn, agents)


async def drain(agents: list[Agent], hours: float, gateway: psutil.Process) -> None:
    stop = asyncio.Event()
    total = sum(agent.backlog for agent in agents)
    before_s, peak_bytes = gateways.cpu_s(gateway), 0
    begun = time.monotonic()
    tasks = [asyncio.create_task(agent.uplink.run(stop)) for agent in agents]
    tasks += [
        asyncio.create_task(agent.collect(stop, INTERVAL_S * n / len(agents)))
        for n, agent in enumerate(agents)
    ]
    while sum(a.buffer.stats().batches - len(a.buffer.put_s) for a in agents) > 0:
        await asyncio.sleep(0.1)
        peak_bytes = max(peak_bytes, gateway.memory_info().rss)
    took_s = time.monotonic() - begun
    lags_s = sorted(lag for agent in agents for lag in agent.buffer.lags_s)
    used_s = gateways.cpu_s(gateway) - before_s
    stop.set()
    for task in tasks[len(agents) :]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for agent in agents:
        agent.buffer.close()
    print(f"backlog              {total} full ticks of {len(agents)} agents, {hours:g} h each")
    print(f"drained in           {took_s:.1f} s, {total / took_s:.0f} ticks/s")
    print(f"speed                {hours * 3600 / took_s:.0f} times real time")
    print(
        f"fresh tick to ack    {len(lags_s)} ticks, p50 {statistics.median(lags_s) * 1000:.0f} ms, "
        f"p99 {lags_s[int(len(lags_s) * 0.99) - 1] * 1000:.0f} ms, max {lags_s[-1] * 1000:.0f} ms"
    )
    print(f"gateway              {used_s / took_s:.2f} cores, {peak_bytes / 2**20:.0f} MiB at most")
    print(f"all agents together  {psutil.Process().memory_info().rss / 2**20:.0f} MiB")


async def compare(dsn: str, agents: list[Agent]) -> None:
    """Count what is stored: every tick of the backlog and every acked fresh one, each once."""
    acked = sum(agent.backlog + len(agent.buffer.lags_s) for agent in agents)
    connection = await database.connect(dsn, "bench", statement_timeout_s=60)
    rows = await connection.fetchval("SELECT count(*) FROM cpu")
    ticks = await connection.fetchval("SELECT count(DISTINCT (server_id, time)) FROM cpu")
    lost = await connection.fetchval("SELECT count(*) FROM ingest_loss WHERE state <> 'pending'")
    await connection.close()
    print(f"stored               {ticks} ticks of {acked} acked, in {rows} rows; {lost} losses")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--dsn", help="an empty database to use instead of the embedded one")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="hostpulse-bench-") as root,
        databases.named(options.dsn) as dsn,
        gateways.running(dsn) as served,
    ):
        asyncio.run(measure(options, Path(root), dsn, served))


if __name__ == "__main__":
    main()
