"""How late the samples of 200 good agents are while one abuser does what it can.

    python -m bench.abuse [--agents 200] [--interval-s 10] [--seconds 30] [--kinds streams,http]
                          [--nice 10,0] [--apart]

One gateway process on the embedded PostgreSQL; good agents with full ticks, spread over the
interval, from this process; the abuser (bench/abuser.py) is another process with an agent's key.
All of them share this machine's cores: each kind runs once for each `--nice`, by default at a lower
priority, which leaves the gateway its core, and at the same one, which takes it away from it. The
kind `spin` sends nothing and only takes a core: what is no worse than that is not the gateway's
doing. With `--apart` the abuser has one core for itself, and all others share what is left. The
lag is from sending to the ack, which follows the commit. The good ones open their streams while
the abuser is at it. "Waited" is the time that a process was ready to run and no core was free, as
Linux counts it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import abuser, databases, gateways
from bench.ingest import Load
from storage import database, keys

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD_START_S = 1.0
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


def leave_a_core() -> int:
    """Run, with all that is started from now on, beside the first core; return that."""
    first, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, others)
    return first


def measure(options: argparse.Namespace) -> None:
    first_core = leave_a_core() if options.apart else None
    with databases.embedded() as dsn, gateways.running(dsn) as served:
        key = asyncio.run(abusers_key(dsn))
        gateway = served.processes[0]
        runs = [("", 0), *itertools.product(options.kinds.split(","), options.nice)]
        for number, (kind, nice) in enumerate(runs):
            load = Load(
                served.addresses,
                served.key,
                agents=options.agents,
                rate=options.agents / options.interval_s,
                first=number * options.agents,
            )
            command = [sys.executable, "-m", "bench.abuser", kind, served.addresses[0]]
            command += [served.pages[0], key, "--seconds", str(options.seconds + HEAD_START_S)]
            command += ["--nice", str(nice)]
            command += [] if first_core is None else ["--core", str(first_core)]
            watched = {"gateway": family(gateway), "database": family(served.postgres)}
            watched["good ones"] = [psutil.Process()]
            before = {who: usage(each) for who, each in watched.items()}
            done = asyncio.run(attacked(load, command if kind else None, options.seconds))
            print_lags(f"{kind} nice {nice}" if kind else "no abuser", load)
            for who, each in watched.items():
                used_s, waited_s = (b - a for a, b in zip(before[who], usage(each), strict=True))
                print(f"{'':15} {who}: {used_s / options.seconds:.2f} cores, waited for"
                      f" {waited_s / options.seconds:.2f}")  # fmt: skip
            print(f"{'':15} gateway: {gateway.memory_info().rss / 1e6:.0f} MB RSS")
            print(f"{'':15} abuser: {done or 'none'}", flush=True)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def usage(processes: Iterable[psutil.Process]) -> tuple[float, float]:
    """Return the CPU seconds that processes had, and the seconds that they waited for a core."""
    used_s = waited_s = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            used_s += times.user + times.system
        for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended
                waited_s += int(thread.read_text().split()[1]) / 1e9
    return used_s, waited_s


def print_lags(kind: str, load: Load) -> None:
    lags_ms = sorted(1000 * each for each in load.latencies_s)
    cuts = statistics.quantiles(lags_ms, n=100)
    print(
        f"{kind:15} {len(lags_ms)} of {load.sent} good ticks, lag p50 {cuts[49]:.0f} ms, "
        f"p99 {cuts[98]:.0f} ms, max {lags_ms[-1]:.0f} ms "
        f"(generator late by {1000 * load.lag_s:.0f} ms)"
    )


def niceness(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--interval-s", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--kinds", default=",".join(abuser.KINDS), help="of " + ", ".join(abuser.KINDS)
    )
    parser.add_argument(
        "--nice", type=niceness, default=[abuser.NICE, 0], help="priorities of the abuser"
    )
    parser.add_argument("--apart", action="store_true", help="give the abuser a core of its own")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
