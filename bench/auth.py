"""What it costs to know who is calling: a tick, a request, a new stream.

    python -m bench.auth [--streams 10000] [--interval-s 10] [--pairs 3] [--seconds 6]

A message on an open stream is not asked for its key. What watching over the keys of all open
streams costs is measured in pairs of runs, without and with that many streams held, and divided by
the ticks that they send. CPU is that of this process and of the database's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from bench.databases import embedded
from collector_gateway.auth import Authenticator
from collector_gateway.live import Live
from collector_gateway.principals import Principal
from collector_gateway.tokens import Tokens, TokenSettings
from hostpulse.clock import SystemClock
from storage import database, keys

FULL_TICK_CPU_S = 0.00036  # 2.0 CPU-s per million values x 180: what a tick may cost in all
CALLS = 20_000


def cpu_s() -> float:
    """CPU seconds of this process and of the PostgreSQL that it started."""
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def watch(dsn: str, pool: database.Pool, held: list[Principal], seconds: float) -> float:
    """Return the CPU seconds a second of watching over these streams."""
    clock = SystemClock()
    authenticator = Authenticator(pool, clock=clock)
    live = Live(dsn, pool=pool, authenticator=authenticator, tokens=None, clock=clock)
    stop = asyncio.Event()
    with contextlib.ExitStack() as stack:
        for each in held:
            stack.enter_context(live.hold(each, print))
        running = asyncio.gather(live.watch(stop), live.listen(stop))
        await asyncio.sleep(1.0)  # the first look and touch
        begun, before = time.monotonic(), cpu_s()
        await asyncio.sleep(seconds)
        used = (cpu_s() - before) / (time.monotonic() - begun)
        stop.set()
        await running
    return used


async def per_tick_us(
    dsn: str, *, streams: int, interval_s: float, pairs: int, seconds: float
) -> float:
    """Return the microseconds of CPU for the key of a tick, of so many streams; print the pairs."""
    async with database.open_pool(dsn, "bench", max_size=4, statement_timeout_s=10) as pool:
        async with pool.acquire() as connection:
            rows = await connection.fetch(
                "INSERT INTO api_key (prefix, key_sha256, role, server_names, created_by)"
                " SELECT to_char(n, 'FM00000000'), sha256(n::text::bytea), 'agent',"
                " ARRAY['s' || n], 'bench' FROM generate_series(1, $1) n RETURNING id, prefix",
                streams,
            )
            await connection.execute("ANALYZE api_key")
        held = [
            Principal(
                key_id=row["id"],
                prefix=row["prefix"],
                role=keys.Role.AGENT,
                server_names=frozenset(),
            )
            for row in rows
        ]
        extra: list[float] = []
        for number in range(pairs):
            without = await watch(dsn, pool, [], seconds)
            with_them = await watch(dsn, pool, held, seconds)
            extra.append(with_them - without)
            print(f"pair {number + 1}: {without * 100:.2f} % of a core without streams,"
                  f" {with_them * 100:.2f} % with {len(held)}")  # fmt: skip
    return statistics.median(extra) / (streams / interval_s) * 1e6


async def measure(dsn: str, arguments: argparse.Namespace) -> None:
    """Measure and print."""
    each_us = await per_tick_us(
        dsn,
        streams=arguments.streams,
        interval_s=arguments.interval_s,
        pairs=arguments.pairs,
        seconds=arguments.seconds,
    )
    share = each_us / 1e6 / FULL_TICK_CPU_S
    print(f"a tick: {each_us:.1f} us of CPU for its key, {share * 100:.2f} % of what a full"
          f" tick may cost ({FULL_TICK_CPU_S * 1e6:.0f} us)")  # fmt: skip
    async with database.open_pool(dsn, "bench", max_size=4, statement_timeout_s=10) as pool:
        async with pool.acquire() as connection:
            key = await keys.create(connection, role=keys.Role.ADMIN, created_by="bench")
        await requests(pool, key)


async def requests(pool: database.Pool, key: str) -> None:
    """Print what a request pays for its key or its token."""
    authenticator = Authenticator(pool, clock=SystemClock())
    begun = time.process_time()
    for _ in range(CALLS):
        await authenticator.authenticate(key)
    print(f"a request with a key: {(time.process_time() - begun) / CALLS * 1e6:.1f} us")
    rsa_key = rsa.generate_private_key(65537, 2048)
    for name, signer in (("RS256", rsa_key), ("EdDSA", ed25519.Ed25519PrivateKey.generate())):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "key.pem"
            path.write_bytes(
                signer.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
            settings = TokenSettings(
                path=path,
                is_jwks=False,
                variable="",
                audience="a",
                issuer=None,
                max_lifetime_s=3600,
            )
            checker = Tokens(settings, clock=SystemClock())
        claims = {"aud": "a", "exp": time.time() + 600, "role": "reader"}
        token = jwt.encode(claims, signer, algorithm=name)
        begun = time.process_time()
        for _ in range(CALLS // 10):
            checker.verify(token)
        took_us = (time.process_time() - begun) / (CALLS // 10) * 1e6
        print(f"a request or a new stream with a token ({name}): {took_us:.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--interval-s", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    with embedded() as dsn:
        asyncio.run(measure(dsn, arguments))


if __name__ == "__main__":
    main()
