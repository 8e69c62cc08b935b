"""The agent of the chaos tests: the real one, four ticks a second, and impatient.

    python -m tests.chaos.quick_agent        settings as for `hostpulse agent`, and
    CHAOS_SPOOL_BYTES                        how small the spool is

Only what takes long by nature is shortened: intervals, backoff and the waits of a stream.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from agent import app, configuration, journal, settings, uplink
from agent.buffer import BufferBounds
from agent.session import Timeouts
from hostpulse import backoff, lifecycle, logs
from hostpulse.v1 import telemetry_pb2 as pb

INTERVAL_S = 0.25
ANNOUNCED_INTERVAL_S = 1.0  # the least that a gateway believes
IMPATIENT = Timeouts(welcome_s=3.0, verdict_s=8.0, finish_s=0.5)


class Cpu:
    family = pb.FAMILY_CPU

    def collect(self):
        return [pb.CpuSample(usage_percent=50.0, core_usage_percent=[40.0, 60.0])]


class Network:
    family = pb.FAMILY_NETWORK

    def collect(self):
        return [pb.NetworkSample(interface=f"eth{n}", rx_bytes_per_s=1.0) for n in range(3)]


class Process:
    family = pb.FAMILY_PROCESS

    def collect(self):
        return [pb.ProcessSample(pid=n, name=f"worker-{n}", cpu_percent=1.0) for n in range(1, 9)]


OBSERVED = (Cpu(), Network(), Process())


async def serve(chosen):
    stop = asyncio.Event()
    with lifecycle.stop_on_signals(stop):
        await app.run(
            chosen,
            stop,
            observed=OBSERVED,
            timeouts=IMPATIENT,
            journal=Path(os.environ[journal.VARIABLE]),
        )


class Patient(configuration.Configuration):
    """Tells the gateway intervals that it believes."""

    def intervals(self):
        return [
            pb.FamilyInterval(family=family, interval_s=ANNOUNCED_INTERVAL_S)
            for family in self.plan.intervals_s
        ]


def main():
    app.Configuration = Patient
    uplink.RECONNECT = backoff.BackoffPolicy(initial_s=0.2, maximum_s=1.5)
    uplink.REFUSED = backoff.BackoffPolicy(minimum_s=0.2, initial_s=0.5, maximum_s=1.5)
    chosen = settings.load(sys.argv[1:], os.environ)
    logs.configure(chosen.log)
    families = [each.family for each in OBSERVED]
    spool_bytes = int(os.environ.get("CHAOS_SPOOL_BYTES", chosen.spool.max_bytes))
    asyncio.run(
        serve(
            replace(
                chosen,
                intervals_s=dict.fromkeys((*families, pb.FAMILY_AGENT_HEALTH), INTERVAL_S),
                spool=BufferBounds(max_bytes=spool_bytes),
            )
        )
    )


if __name__ == "__main__":
    main()
