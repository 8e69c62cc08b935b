"""What one reading of the host costs: CPU milliseconds by collector, and in percent of a core.

Run it as `python -m bench.collectors [--processes 1000]`. The extra processes only sleep.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent import collectors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Generator

INTERVAL_S = 10.0
DISK_USAGE_INTERVAL_S = 60.0
ROUNDS = 30
MOST_PROCESSES = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()

    measure(arguments.rounds)
    wanted = min(arguments.processes, MOST_PROCESSES)
    with sleeping_processes(max(wanted - count_processes(), 0)):
        measure(arguments.rounds)


def measure(rounds: int) -> None:
    print(f"{count_processes()} processes, median of {rounds} rounds")
    per_second_ms = 0.0
    for collector in collectors.build(collectors.CollectorSettings()):
        collector.collect()
        samples = collector.collect()
        times = [cost(collector) for _ in range(rounds)]
        cpu_ms = statistics.median(cpu for cpu, _ in times)
        wall_ms = statistics.median(wall for _, wall in times)
        is_rare = collector.family == telemetry_pb2.FAMILY_DISK_USAGE
        per_second_ms += cpu_ms / (DISK_USAGE_INTERVAL_S if is_rare else INTERVAL_S)
        name = telemetry_pb2.Family.Name(collector.family).removeprefix("FAMILY_").lower()
        print(f"  {name:<12} {wall_ms:7.2f} ms   {cpu_ms:7.2f} ms CPU   {len(samples):3} samples")
    print(f"  together at {INTERVAL_S:.0f} s: {per_second_ms / 10:.3f} % of a core")
    print(f"  peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MB")


def cost(collector: collectors.Collector) -> tuple[float, float]:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    collector.collect()
    return (time.process_time() - cpu_s) * 1000, (time.perf_counter() - wall_s) * 1000


def count_processes() -> int:
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


@contextlib.contextmanager
def sleeping_processes(count: int) -> Generator[None]:
    pids: list[int] = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.alarm(300)  # ends it should its parent be killed
                signal.pause()
                os._exit(0)
            pids.append(pid)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
