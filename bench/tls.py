"""What TLS and the look after keys cost a gateway, of each tick and of each new stream, in pairs.

    python -m bench.tls [--pairs 5] [--seconds 10] [--agents 200] [--ticks-per-s 1000]

Two gateway processes on one embedded PostgreSQL, one with TLS and one without, get the same full
ticks in turn: plain and TLS, TLS and plain, and so on, each agent over a connection of its own.
Each pair is printed as a ratio of CPU seconds a tick, of the gateway alone and together with the
database. What is done for keys meanwhile is in both; it is measured as bench.auth does, with 10 000
streams that send a tick every 10 s. The aim is 10 % for both together.

A new stream is what opening a connection and a stream costs the gateway, up to Welcome; the
difference is the handshake (ECDSA P-256, TLS 1.3), which comes once in the life of a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import ssl
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import auth, databases, gateways
from bench.ingest import Load
from cli import tls

AIM = 0.10
KEYS = 10_000  # streams, whose keys are looked after
KEYS_INTERVAL_S = 10.0
KEYS_SECONDS = 6.0
PLAIN, SECURE = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one run, in microseconds of CPU."""

    tick_us: float
    tick_with_database_us: float
    stream_us: float


async def run(load: Load, gateway: gateways.Watched, seconds: float) -> Cost:
    """Open the streams, send ticks, and see what the gateway used for either."""
    before_s, _ = gateway.cpu_s()
    await load.connect()
    opened_s, database_opened_s = gateway.cpu_s()
    await load.send(seconds)
    sent_s, database_sent_s = gateway.cpu_s()
    ticks = len(load.latencies_s)
    return Cost(
        tick_us=(sent_s - opened_s) / ticks * 1e6,
        tick_with_database_us=(sent_s - opened_s + database_sent_s - database_opened_s)
        / ticks
        * 1e6,
        stream_us=(opened_s - before_s) / load.count * 1e6,
    )


def certificates(folder: Path) -> tuple[dict[str, str], ssl.SSLContext]:
    """Make a gateway's certificate; return its settings, and how a client trusts it."""
    with contextlib.redirect_stdout(io.StringIO()):
        tls.init(folder / "tls", name=["127.0.0.1"])
    context = ssl.create_default_context(cafile=str(folder / "tls" / "ca.pem"))
    context.set_alpn_protocols(["h2"])
    return {
        "HOSTPULSE_TLS_CERT": str(folder / "tls" / "gateway.pem"),
        "HOSTPULSE_TLS_KEY": str(folder / "tls" / "gateway.key"),
    }, context


def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, databases.embedded() as dsn:
        variables, context = certificates(Path(folder))
        # First, while there is nothing yet that autovacuum would come for.
        each_us = asyncio.run(
            auth.per_tick_us(
                dsn,
                streams=KEYS,
                interval_s=KEYS_INTERVAL_S,
                pairs=3,
                seconds=KEYS_SECONDS,
            )
        )
        with gateways.running(dsn, [{}, variables]) as served:
            pairs: list[tuple[Cost, Cost]] = []
            runs = 0

            def once(which: int) -> Cost:
                nonlocal runs
                load = Load(
                    [served.addresses[which]],
                    served.key,
                    agents=options.agents,
                    rate=options.ticks_per_s,
                    first=runs * options.agents,
                    tls=context if which == SECURE else None,
                    streams_per_connection=1,
                )
                runs += 1
                watched = gateways.Watched(served.processes[which], served.postgres)
                return asyncio.run(run(load, watched, options.seconds))

            for which in (PLAIN, SECURE):  # what is done for the first time is in no pair
                once(which)
            for number in range(options.pairs):
                order = (PLAIN, SECURE) if number % 2 == 0 else (SECURE, PLAIN)
                costs = {which: once(which) for which in order}
                pairs.append((costs[PLAIN], costs[SECURE]))
                print_pair(number + 1, *pairs[-1])
    print_result(pairs, each_us)


def print_pair(number: int, plain: Cost, secure: Cost) -> None:
    print(
        f"pair {number}: a tick {plain.tick_us:.0f} us plain, {secure.tick_us:.0f} us TLS, ratio"
        f" {secure.tick_us / plain.tick_us:.3f}; with the database"
        f" {plain.tick_with_database_us:.0f} and {secure.tick_with_database_us:.0f} us, ratio"
        f" {secure.tick_with_database_us / plain.tick_with_database_us:.3f}; a new stream"
        f" {plain.stream_us:.0f} and {secure.stream_us:.0f} us",
        flush=True,
    )


def print_result(pairs: list[tuple[Cost, Cost]], key_us: float) -> None:
    ratios = [secure.tick_us / plain.tick_us for plain, secure in pairs]
    together = [s.tick_with_database_us / p.tick_with_database_us for p, s in pairs]
    plain_us = statistics.median(plain.tick_us for plain, _ in pairs)
    handshakes = [secure.stream_us - plain.stream_us for plain, secure in pairs]
    print(f"TLS, of the gateway            {spread(ratios)}")
    print(f"TLS, of gateway and database   {spread(together)}")
    print(
        f"keys                           {key_us:.1f} us a tick, ratio {1 + key_us / plain_us:.3f}"
    )
    both = statistics.median(ratios) - 1 + key_us / plain_us
    print(f"keys and TLS, of the gateway   {both * 100:.1f} % of a tick of {plain_us:.0f} us"
          f" (aim: {AIM * 100:.0f} %)")  # fmt: skip
    print(f"a handshake                    {statistics.median(handshakes):.0f} us"
          f" ({min(handshakes):.0f} to {max(handshakes):.0f}), once a stream")  # fmt: skip


def spread(ratios: list[float]) -> str:
    return f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--ticks-per-s", type=float, default=1000.0)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
