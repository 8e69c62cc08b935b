"""How late the samples of 200 good agents are while one abuser does what it can.

    python -m bench.abuse [--agents 200] [--interval-s 10] [--seconds 30] [--kinds streams,http]

One gateway process on the embedded PostgreSQL; good agents with full ticks, spread over the
interval, from this process; the abuser (bench/abuser.py) is another process with an agent's key.
All of them share this machine's cores, the abuser at a lower priority. The lag is from sending to
the ack, which follows the commit. The good ones open their streams while the abuser is at it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys

from bench import abuser, databases, gateways
from bench.ingest import Load
from storage import database, keys

HEAD_START_S = 1.0
KINDS = ("batches", "streams", "logins", "http", "all")
GRACE_S = 20.0  # for the good ones to open their streams and get their last acks


async def abusers_key(dsn: str) -> str:
    connection = await database.connect(dsn, "bench")
    key = await keys.create(
        connection, role=keys.Role.AGENT, server_names=[abuser.SERVER], created_by="bench"
    )
    await connection.close()
    return key


async def attacked(load: Load, command: list[str] | None, seconds: float) -> str:
    """Let the good ones send beside an abuser; return what that one did."""
    if command is None:
        await load.run(seconds)
        return ""
    attack = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        await asyncio.sleep(HEAD_START_S)
        await load.run(seconds)
        async with asyncio.timeout(2 * GRACE_S):
            done, _ = await attack.communicate()
        assert attack.returncode == 0, "the abuser has failed"
        return done.decode().strip()
    finally:
        if attack.returncode is None:
            attack.kill()


def measure(options: argparse.Namespace) -> None:
    with databases.embedded() as dsn, gateways.running(dsn) as served:
        key = asyncio.run(abusers_key(dsn))
        gateway = served.processes[0]
        for number, kind in enumerate(("", *options.kinds.split(","))):
            load = Load(
                served.addresses,
                served.key,
                agents=options.agents,
                rate=options.agents / options.interval_s,
                first=number * options.agents,
            )
            command = [sys.executable, "-m", "bench.abuser", kind, served.addresses[0]]
            command += [served.pages[0], key, "--seconds", str(options.seconds + HEAD_START_S)]
            before = gateways.cpu_s(gateway)
            done = asyncio.run(attacked(load, command if kind else None, options.seconds))
            used = gateways.cpu_s(gateway) - before
            print_result(kind or "no abuser", load, used / options.seconds, done)
            print(f"{'':14} gateway {gateway.memory_info().rss / 1e6:.0f} MB RSS", flush=True)


def print_result(kind: str, load: Load, cores: float, done: str) -> None:
    lags_ms = sorted(1000 * each for each in load.latencies_s)
    cuts = statistics.quantiles(lags_ms, n=100)
    print(
        f"{kind:14} {len(lags_ms)} of {load.sent} good ticks, lag p50 {cuts[49]:.0f} ms, "
        f"p99 {cuts[98]:.0f} ms, max {lags_ms[-1]:.0f} ms "
        f"(generator late by {1000 * load.lag_s:.0f} ms); gateway {cores:.2f} cores"
    )
    if done:
        print(f"{'':14} abuser: {done}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--interval-s", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of " + ", ".join(KINDS))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
