"""How many full ticks a second a gateway and a database take, durable, and at what cost.

    python -m bench.ingest [--ticks-per-s 4000] [--seconds 20] [--streams 400] [--gateways 1]

Runs the embedded PostgreSQL (durable as shipped), a gateway process and a load generator on this
machine; "2 cores" includes the generator. Prints acked ticks a second, the time from sending to the
ack (which follows the commit), CPU seconds per million values, and memory. `--ticks-per-s 0` sends
as fast as acks come back.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time

import grpc

from bench import databases, gateways
from bench.ticks import count_values, full_tick
from hostpulse.v1 import telemetry_pb2 as pb

STREAM = "/hostpulse.v1.TelemetryService/Stream"
STREAMS_PER_CHANNEL = 50
WINDOW = 8  # unacked ticks of a stream when sending as fast as possible


class Load:
    """Streams that send prepared ticks and time their acks."""

    def __init__(self, addresses: list[str], key: str, *, streams: int, rate: float) -> None:
        self.addresses = addresses
        self.key = key
        self.streams = streams
        self.rate = rate
        self.latencies_s: list[float] = []
        self.sent = 0
        self.acked = 0
        chance = random.Random(1)
        self.ticks = [full_tick(chance) for _ in range(64)]
        self.values = count_values(self.ticks[0])

    async def run(self, seconds: float) -> float:
        """Send for so long; return the seconds from the first tick to the last ack."""
        channels = [
            grpc.aio.insecure_channel(
                self.addresses[i % len(self.addresses)], options=[("bench", i)]
            )
            for i in range((self.streams + STREAMS_PER_CHANNEL - 1) // STREAMS_PER_CHANNEL)
        ]
        self.ready, self.stop = asyncio.Event(), asyncio.Event()
        opened = [asyncio.Event() for _ in range(self.streams)]
        tasks = [
            asyncio.create_task(self._stream(channels[i // STREAMS_PER_CHANNEL], i, opened[i]))
            for i in range(self.streams)
        ]
        for event in opened:
            await event.wait()
        self.go = started = time.monotonic()
        self.ready.set()
        await asyncio.sleep(seconds)
        self.stop.set()
        await asyncio.gather(*tasks)
        elapsed = time.monotonic() - started
        for channel in channels:
            await channel.close()
        return elapsed

    async def _stream(self, channel: grpc.aio.Channel, number: int, opened: asyncio.Event) -> None:
        call = channel.stream_stream(STREAM)(metadata=(("authorization", f"Bearer {self.key}"),))
        boot = number.to_bytes(16, "big")
        hello = pb.Hello(
            server_name=f"bench-{number}",
            machine_id=f"m{number}",
            boot_id=boot,
            epoch=number + 1,
            time_unix_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
        await call.write(pb.StreamRequest(hello=hello).SerializeToString())
        assert pb.StreamResponse.FromString(await call.read()).HasField("welcome")
        opened.set()
        await self.ready.wait()
        sent_at: dict[int, float] = {}
        reader = asyncio.create_task(self._read(call, sent_at))
        pause_s = self.streams / self.rate if self.rate else 0.0
        due = self.go + random.random() * pause_s
        seq = 0
        while not self.stop.is_set():
            if self.rate:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += pause_s
            while len(sent_at) >= (WINDOW if not self.rate else 1000):
                await asyncio.sleep(0.002)
            seq += 1
            batch = self.ticks[(seq + number) % len(self.ticks)]
            batch.epoch, batch.seq, batch.lane = number + 1, seq, pb.LANE_LIVE
            batch.boot_id = boot
            batch.time_unix_ns = time.time_ns()
            batch.monotonic_ns = batch.sent_monotonic_ns = time.monotonic_ns()
            data = pb.StreamRequest(batch=batch).SerializeToString()
            sent_at[seq] = time.monotonic()
            await call.write(data)
            self.sent += 1
        deadline = time.monotonic() + 20
        while sent_at and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        reader.cancel()
        call.cancel()

    async def _read(self, call: grpc.aio.StreamStreamCall, sent_at: dict[int, float]) -> None:
        while True:
            data = await call.read()
            if data is grpc.aio.EOF:
                return
            ack = pb.StreamResponse.FromString(data).ack
            if ack.status == pb.BATCH_STATUS_COMMITTED:
                self.latencies_s.append(time.monotonic() - sent_at.pop(ack.seq))
                self.acked += 1


def measure(options: argparse.Namespace) -> None:
    with databases.embedded() as dsn, gateways.running(dsn, options.gateways) as served:
        load = Load(served.addresses, served.key, streams=options.streams, rate=options.ticks_per_s)
        watched = {"gateway": served.processes, "postgres": [served.postgres]}
        before = {name: sum(map(gateways.cpu_s, each)) for name, each in watched.items()}
        elapsed = asyncio.run(load.run(options.seconds))
        used = {
            name: sum(map(gateways.cpu_s, each)) - before[name] for name, each in watched.items()
        }
        print_result(load, elapsed, used)
        memory_bytes = sum(process.memory_info().rss for process in served.processes)
        print(f"memory gateway       {memory_bytes / 1e6:.0f} MB RSS")


def print_result(load: Load, elapsed: float, used: dict[str, float]) -> None:
    latencies = sorted(load.latencies_s)
    millions = load.acked * load.values / 1e6
    quantiles = statistics.quantiles(latencies, n=1000)
    print(f"full tick            {load.values} values")
    print(f"acked                {load.acked} of {load.sent} ticks in {elapsed:.1f} s")
    print(f"rate                 {load.acked / elapsed:.0f} ticks/s, durable")
    print(
        f"send to ack          p50 {quantiles[499] * 1000:.0f} ms, "
        f"p99 {quantiles[989] * 1000:.0f} ms, max {latencies[-1] * 1000:.0f} ms"
    )
    for name in ("gateway", "postgres"):
        print(
            f"CPU {name:16} {used[name] / elapsed:.2f} cores, "
            f"{used[name] / millions:.2f} CPU-s per million values"
        )
    print(
        f"CPU both             {(used['gateway'] + used['postgres']) / millions:.2f}"
        " CPU-s per million values"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks-per-s", type=float, default=4000.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--gateways", type=int, default=1)
    options = parser.parse_args()
    measure(options)


if __name__ == "__main__":
    main()
