"""An abuser with an agent's key of its own, at full speed; bench.abuse runs it beside good agents.

    python -m bench.abuser KIND GRPC HTTP KEY [--seconds 30] [--nice 10] [--core 0]

It comes from an address of its own (127.0.0.2), as somebody else would. Prints what it got done.
The kind `spin` sends nothing and keeps a core busy, to show what that alone does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bench import streams
from hostpulse.v1 import telemetry_pb2 as pb
from storage import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

KINDS = ("spin", "batches", "streams", "resets", "logins", "http", "all")
SERVER = "abuser"
NICE = 10  # a real one would not use the gateway's cores; this one takes what is left of them
SPIN_S = 0.01  # how often one that only spins looks at the clock
ADDRESS = ("127.0.0.2", 0)
STREAM = "/hostpulse.v1.TelemetryService/Stream"
SAMPLES = 1000  # the most that a batch may hold
CONNECTIONS = 8
OPENING_EACH = 50  # streams of a connection on their way at any moment
HTTP_CONNECTIONS = 100  # as many as an address beyond the machine may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the gateway is, the abuser's key, and what has been done to it."""

    grpc: tuple[str, int]
    http: tuple[str, int]
    key: str
    done: Counter[str] = field(default_factory=Counter)


async def connect(
    target: Target, take: Callable[[int, bytes], None], ended: Callable[[int], None]
) -> streams.Connection:
    loop = asyncio.get_running_loop()
    make = partial(streams.Connection, take, ended)
    host, port = target.grpc
    return (await loop.create_connection(make, host, port, local_addr=ADDRESS))[1]


def hello(epoch: int) -> bytes:
    return pb.StreamRequest(
        hello=pb.Hello(
            server_name=SERVER,
            machine_id=SERVER,
            boot_id=bytes(16),
            epoch=epoch,
            time_unix_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
    ).SerializeToString()


def batch(epoch: int, seq: int) -> bytes:
    """Make a batch of as many rows as it may have, in as few bytes as they take."""
    now_ns = time.monotonic_ns()
    return pb.StreamRequest(
        batch=pb.MetricBatch(
            epoch=epoch,
            seq=seq,
            lane=pb.LANE_LIVE,
            boot_id=bytes(16),
            time_unix_ns=time.time_ns(),
            monotonic_ns=now_ns,
            sent_monotonic_ns=now_ns,
            disk_io=[pb.DiskIoSample(device="a", read_bytes_per_s=1.0)] * SAMPLES,
        )
    ).SerializeToString()


async def send_batches(target: Target, end_s: float) -> None:
    """Send batches as fast as the stream takes them."""
    over = asyncio.Event()

    def take(_stream: int, data: bytes) -> None:
        response = pb.StreamResponse.FromString(data)
        if response.HasField("ack"):
            target.done["batches stored"] += response.ack.status == pb.BATCH_STATUS_COMMITTED
            target.done["batches refused"] += response.ack.status == pb.BATCH_STATUS_REJECTED

    while time.monotonic() < end_s:
        over.clear()
        connection = await connect(target, take, lambda _stream: over.set())
        stream = connection.open(STREAM, authorization=f"Bearer {target.key}")
        epoch = random.getrandbits(62) + 1
        connection.send(stream, hello(epoch))
        for seq in itertools.count(1):
            if over.is_set() or connection.failure or time.monotonic() > end_s:
                break
            if not connection.is_held_back:
                connection.send(stream, batch(epoch, seq))
            await asyncio.sleep(0)
        connection.close()


async def open_streams(target: Target, end_s: float, key: Callable[[], str], what: str) -> None:
    """Open streams as fast as possible, and drop each when it is welcome."""
    open_again = asyncio.Event()
    opening: set[int] = set()

    def settled(stream: int, how: str) -> None:
        target.done[f"{what} {how}"] += 1
        opening.discard(stream)
        open_again.set()

    def take(stream: int, _data: bytes) -> None:
        if stream in opening:
            connection.reset(stream)
            settled(stream, "welcomed")

    connection = await connect(target, take, lambda stream: settled(stream, "refused"))
    while time.monotonic() < end_s and not connection.failure:
        while len(opening) < OPENING_EACH:
            stream = connection.open(STREAM, authorization=f"Bearer {key()}")
            opening.add(stream)
            connection.send(stream, hello(random.getrandbits(62) + 1))
        open_again.clear()
        await open_again.wait()
    connection.close()


async def reset_streams(target: Target, end_s: float) -> None:
    """Open streams and drop them without waiting for anything (CVE-2023-44487)."""
    while time.monotonic() < end_s:
        connection = await connect(target, lambda _stream, _data: None, lambda _stream: None)
        while time.monotonic() < end_s and not connection.failure:
            opened = [
                connection.open(STREAM, authorization=f"Bearer {target.key}")
                for _ in range(OPENING_EACH)
            ]
            for stream in opened:
                connection.reset(stream)
            target.done["streams reset"] += len(opened)
            await asyncio.sleep(0)
        target.done["connections that the gateway closed"] += bool(connection.failure)
        connection.close()


async def ask(target: Target, end_s: float, key: Callable[[], str], what: str) -> None:
    """Read and post over a kept connection, one request after the other."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = (
        f'{{"server_id":"{SERVER}","timestamp":"{now}","metrics":{{"cpu":{{"usage_percent":1}}}}}}'
    )
    while time.monotonic() < end_s:
        reader, writer = await asyncio.open_connection(*target.http, local_addr=ADDRESS)
        try:
            while time.monotonic() < end_s:
                head = f"Host: a\r\nX-API-Key: {key()}\r\nIdempotency-Key: {uuid.uuid4()}\r\n"
                is_post = random.random() < 0.5
                writer.write(
                    f"POST /api/v1/metrics HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                    if is_post
                    else f"GET /api/v1/servers HTTP/1.1\r\n{head}\r\n".encode()
                )
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                await reader.readexactly(size)
                target.done[f"{what} {answer.split(b' ', 2)[1].decode()}"] += 1
        except (OSError, asyncio.IncompleteReadError):
            target.done[f"{what} cut off"] += 1
        finally:
            writer.close()


async def spin(target: Target, end_s: float) -> None:
    """Keep a core busy and the gateway out of it."""
    while time.monotonic() < end_s:
        until_s = time.monotonic() + SPIN_S
        while time.monotonic() < until_s:
            target.done["spins"] += 1
        await asyncio.sleep(0)


def own_key(target: Target) -> Callable[[], str]:
    return lambda: target.key


def jobs(kind: str, target: Target, end_s: float) -> list[Coroutine[None, None, None]]:
    """Return what makes up one kind of abuse."""
    match kind:
        case "spin":
            return [spin(target, end_s)]
        case "batches":
            return [send_batches(target, end_s)]
        case "streams":
            own = own_key(target)
            return [open_streams(target, end_s, own, "streams") for _ in range(CONNECTIONS)]
        case "resets":
            return [reset_streams(target, end_s) for _ in range(CONNECTIONS)]
        case "logins":
            return [
                *(
                    open_streams(target, end_s, keys.generate, "logins")
                    for _ in range(CONNECTIONS // 2)
                ),
                *(
                    ask(target, end_s, keys.generate, "HTTP logins")
                    for _ in range(HTTP_CONNECTIONS // 2)
                ),
            ]
        case "http":
            own = own_key(target)
            return [ask(target, end_s, own, "HTTP") for _ in range(HTTP_CONNECTIONS)]
        case _:
            return [
                job
                for each in ("batches", "streams", "logins", "http")
                for job in jobs(each, target, end_s)
            ]


async def run(kind: str, target: Target, seconds: float) -> None:
    every = [asyncio.ensure_future(job) for job in jobs(kind, target, time.monotonic() + seconds)]
    done, left = await asyncio.wait(every, timeout=seconds + 0.5)
    for job in done:
        job.result()
    for job in left:  # waits for an answer that comes no more
        job.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    print(", ".join(f"{count} {what}" for what, count in sorted(target.done.items())) or "nothing")


def address(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("http://").rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("grpc", type=address)
    parser.add_argument("http", type=address)
    parser.add_argument("key")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--nice", type=int, default=NICE)
    parser.add_argument("--core", type=int, help="the only one to run on")
    options = parser.parse_args()
    os.nice(options.nice)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    target = Target(grpc=options.grpc, http=options.http, key=options.key)
    asyncio.run(run(options.kind, target, options.seconds))


if __name__ == "__main__":
    main()
