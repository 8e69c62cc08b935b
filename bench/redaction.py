"""What redaction costs: microseconds a command line, and CPU of the process collector with it.

Run it as `python -m bench.redaction`. The command lines are those of the tests.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import time
from pathlib import Path

from agent import collectors
from agent.redaction import RedactionMode, Redactor
from hostpulse.v1 import telemetry_pb2

CORPUS = Path(__file__).parents[1] / "tests/unit/agent/command_lines.txt"
ROUNDS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    redactor = Redactor()
    each_us = sorted(cost_us(redactor, argv, rounds) for argv in command_lines())
    print(
        f"{len(each_us)} command lines: median {statistics.median(each_us):.0f} us, "
        f"mean {statistics.fmean(each_us):.0f} us, most {each_us[-1]:.0f} us"
    )
    for mode in RedactionMode:
        print(f"process collector, {mode:<8}: {collector_cpu_ms(mode, rounds):6.2f} ms CPU a tick")


def command_lines() -> list[list[str]]:
    lines = CORPUS.read_text(encoding="utf-8").replace("«", "").replace("»", "").splitlines()
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def cost_us(redactor: Redactor, argv: list[str], rounds: int) -> float:
    begun = time.process_time()
    for _ in range(rounds):
        redactor.command_line(argv)
    return (time.process_time() - begun) / rounds * 1e6


def collector_cpu_ms(mode: RedactionMode, rounds: int) -> float:
    family = telemetry_pb2.FAMILY_PROCESS
    built = collectors.build(collectors.CollectorSettings(redaction=mode))
    (collector,) = (each for each in built if each.family == family)
    collector.collect()
    times: list[float] = []
    for _ in range(rounds):
        begun = time.process_time()
        collector.collect()
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    main()
