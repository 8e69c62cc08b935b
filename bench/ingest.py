"""How many full ticks a second a gateway and a database take, durable, and at what cost.

    python -m bench.ingest [--ticks-per-s 4000] [--seconds 20] [--streams 400] [--gateways 1]
                           [--dsn DSN]

Runs the embedded PostgreSQL (durable as shipped) unless `--dsn` names a database, a gateway process
and a load generator on this machine; "2 cores" includes the generator. Prints acked ticks a second,
the time from sending to the ack (which follows the commit), CPU seconds per million values, and
memory. `--ticks-per-s 0` sends as fast as acks come back.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from bench import databases, gateways, streams
from bench.ticks import count_values, full_tick
from hostpulse.v1 import telemetry_pb2 as pb

if TYPE_CHECKING:
    import ssl

STREAM = "/hostpulse.v1.TelemetryService/Stream"
STREAMS_PER_CONNECTION = 4
WINDOW = 8  # unacked ticks of a stream when sending as fast as possible
PACE_S = 0.005
ENDS_WITHIN_S = 20.0


class Agent:
    """One stream that sends prepared ticks and times their acks."""

    def __init__(self, number: int, connection: streams.Connection, key: str) -> None:
        self.number = number
        self.boot_id = number.to_bytes(16, "big")
        self.connection = connection
        self.stream = connection.open(STREAM, authorization=f"Bearer {key}")
        self.sent_s: dict[int, float] = {}
        self.seq = 0

    def hello(self) -> None:
        hello = pb.Hello(
            server_name=f"bench-{self.number}",
            machine_id=f"m{self.number}",
            boot_id=self.boot_id,
            epoch=self.number + 1,
            time_unix_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
        self.connection.send(self.stream, pb.StreamRequest(hello=hello).SerializeToString())

    def send(self, request: pb.StreamRequest) -> None:
        """Send a prepared tick as one of this agent, taken now."""
        self.seq += 1
        batch = request.batch
        batch.epoch, batch.seq, batch.boot_id = self.number + 1, self.seq, self.boot_id
        batch.time_unix_ns = time.time_ns()
        batch.monotonic_ns = batch.sent_monotonic_ns = time.monotonic_ns()
        self.sent_s[self.seq] = time.monotonic()
        self.connection.send(self.stream, request.SerializeToString())


class Load:
    """All agents: at a rate, in turn, or each as fast as its acks come back."""

    def __init__(
        self,
        addresses: list[str],
        key: str,
        *,
        agents: int,
        rate: float,
        first: int = 0,
        tls: ssl.SSLContext | None = None,
        streams_per_connection: int = STREAMS_PER_CONNECTION,
    ) -> None:
        self.addresses = addresses
        self.tls = tls
        self.streams_per_connection = streams_per_connection
        self.key = key
        self.first = first
        self.count = agents
        self.rate = rate
        self.latencies_s: list[float] = []
        self.sent = 0
        self.lag_s = 0.0
        chance = random.Random(1)
        ticks = [full_tick(chance) for _ in range(64)]
        self.values = count_values(ticks[0])
        for tick in ticks:
            tick.lane = pb.LANE_LIVE
        self.requests = [pb.StreamRequest(batch=tick) for tick in ticks]
        self.connections: list[streams.Connection] = []
        self.agents: list[Agent] = []

    async def run(self, seconds: float) -> float:
        """Connect and send for so long; return the seconds from the first tick to the last ack."""
        await self.connect()
        return await self.send(seconds)

    async def send(self, seconds: float) -> float:
        """Send, and close the connections."""
        self.stopping = False
        started = time.monotonic()
        for agent in self.agents if not self.rate else ():
            for _ in range(WINDOW):
                self._send(agent)
        while (now := time.monotonic()) < started + seconds:
            if self.rate:
                for _ in range(int((now - started) * self.rate) - self.sent):
                    self._send(self.agents[self.sent % self.count])
            await self._pause()
        self.stopping = True
        while any(agent.sent_s for agent in self.agents):
            assert time.monotonic() < started + seconds + ENDS_WITHIN_S, "acks are missing"
            await self._pause()
        elapsed = time.monotonic() - started
        for connection in self.connections:
            connection.close()
        return elapsed

    async def connect(self) -> None:
        """Open all streams and wait until each is welcome."""
        self.welcomes = 0
        loop = asyncio.get_running_loop()
        for first in range(0, self.count, self.streams_per_connection):
            address = self.addresses[len(self.connections) % len(self.addresses)]
            host, _, port = address.partition(":")
            by_stream: dict[int, Agent] = {}

            def take(stream: int, data: bytes, by_stream: dict[int, Agent] = by_stream) -> None:
                self._take(by_stream[stream], data)

            make = partial(streams.Connection, take)
            _, connection = await loop.create_connection(make, host, int(port), ssl=self.tls)
            self.connections.append(connection)
            for number in range(first, min(first + self.streams_per_connection, self.count)):
                agent = Agent(self.first + number, connection, self.key)
                by_stream[agent.stream] = agent
                self.agents.append(agent)
                agent.hello()
        while self.welcomes < self.count:
            await self._pause()

    async def _pause(self) -> None:
        """Let acks come in, and see that no connection has failed."""
        due_s = time.monotonic() + PACE_S
        await asyncio.sleep(PACE_S)
        self.lag_s = max(self.lag_s, time.monotonic() - due_s)
        for connection in self.connections:
            if connection.failure is not None:
                raise connection.failure

    def _send(self, agent: Agent) -> None:
        agent.send(self.requests[self.sent % len(self.requests)])
        self.sent += 1

    def _take(self, agent: Agent, data: bytes) -> None:
        response = pb.StreamResponse.FromString(data)
        match response.WhichOneof("message"):
            case "ack":
                assert response.ack.status == pb.BATCH_STATUS_COMMITTED, response
                self.latencies_s.append(time.monotonic() - agent.sent_s.pop(response.ack.seq))
                if not self.rate and not self.stopping:
                    self._send(agent)
            case "welcome":
                self.welcomes += 1
            case _:
                pass


def measure(options: argparse.Namespace) -> None:
    with (
        databases.named(options.dsn) as dsn,
        gateways.running(dsn, [{}] * options.gateways) as served,
    ):
        load = Load(served.addresses, served.key, agents=options.streams, rate=options.ticks_per_s)
        watched = {"gateway": served.processes, "postgres": [served.postgres]}
        before = {name: sum(map(gateways.cpu_s, each)) for name, each in watched.items()}
        own_s = time.process_time()
        elapsed = asyncio.run(load.run(options.seconds))
        used = {
            name: sum(map(gateways.cpu_s, each)) - before[name] for name, each in watched.items()
        }
        used["generator"] = time.process_time() - own_s
        print_result(load, elapsed, used)
        for metrics in served.metrics():
            print_flushes(metrics)
        memory_bytes = sum(process.memory_info().rss for process in served.processes)
        print(f"memory gateway       {memory_bytes / 1e6:.0f} MB RSS")


def print_result(load: Load, elapsed: float, used: dict[str, float]) -> None:
    latencies = sorted(load.latencies_s)
    millions = len(latencies) * load.values / 1e6
    quantiles = statistics.quantiles(latencies, n=1000)
    print(f"full tick            {load.values} values")
    print(f"acked                {len(latencies)} of {load.sent} ticks in {elapsed:.1f} s")
    print(f"rate                 {len(latencies) / elapsed:.0f} ticks/s, durable")
    print(
        f"send to ack          p50 {quantiles[499] * 1000:.0f} ms, "
        f"p99 {quantiles[989] * 1000:.0f} ms, max {latencies[-1] * 1000:.0f} ms"
    )
    print(f"generator was late   {load.lag_s * 1000:.0f} ms at most: its own part of the above")
    for name in ("gateway", "postgres", "generator"):
        print(
            f"CPU {name:16} {used[name] / elapsed:.2f} cores, "
            f"{used[name] / millions:.2f} CPU-s per million values"
        )
    print(
        f"CPU gateway+postgres {(used['gateway'] + used['postgres']) / millions:.2f}"
        " CPU-s per million values"
    )


def print_flushes(metrics: dict[str, float]) -> None:
    flushes = metrics["hostpulse_flush_seconds_count"]
    oldest_s = metrics["hostpulse_ingest_delay_seconds_sum"] / flushes
    flush_s = metrics["hostpulse_flush_seconds_sum"] / flushes
    print(
        f"flushes              {flushes:.0f}, of {flush_s * 1000:.0f} ms; "
        f"the oldest tick of each was stored {oldest_s * 1000:.0f} ms after it came"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks-per-s", type=float, default=4000.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument("--dsn", help="an empty database to use instead of the embedded one")
    options = parser.parse_args()
    measure(options)


if __name__ == "__main__":
    main()
