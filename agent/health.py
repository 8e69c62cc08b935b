"""The agent about itself: what it costs, what it keeps, what it could not send."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.buffer import Buffer
    from agent.counters import Counters
    from hostpulse.clock import Clock

NS_PER_MS = 1_000_000
UINT32_MAX = 2**32 - 1


class ClockOffset:
    """How far the agent's wall clock is ahead of the gateway's, by the last Welcome.

    What is kept is the gateway's time against the clock that only goes on, so a step of the wall
    clock shows at the next tick, not at the next stream.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gateway_minus_monotonic_ns: int | None = None

    def learn(self, *, gateway_unix_ns: int, sent_monotonic_ns: int) -> None:
        """Note the gateway's time, taken to be of the middle between asking and now."""
        middle_ns = (sent_monotonic_ns + self._clock.monotonic_ns()) // 2
        self._gateway_minus_monotonic_ns = gateway_unix_ns - middle_ns

    def ms(self) -> float | None:
        """Return agent minus gateway in milliseconds; None before the first Welcome."""
        if self._gateway_minus_monotonic_ns is None:
            return None
        gateway_ns = self._clock.monotonic_ns() + self._gateway_minus_monotonic_ns
        return (self._clock.wall_ns() - gateway_ns) / NS_PER_MS


class Health:
    """Makes the AgentHealthSample; counts and CPU are those since the one before."""

    def __init__(
        self,
        *,
        clock: Clock,
        buffer: Buffer,
        counters: Counters,
        offset: ClockOffset,
        cpu_time_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._buffer = buffer
        self._counters = counters
        self._offset = offset
        self._cpu_time_s = cpu_time_s
        self._collect_s = 0.0
        self._last = self._totals()

    def collected(self, seconds: float) -> None:
        """Add what a tick's collectors took together."""
        self._collect_s += seconds

    def sample(self, *, stuck: int) -> telemetry_pb2.AgentHealthSample:
        """Return the sample and start counting anew."""
        before, now = self._last, self._totals()
        self._last = now
        elapsed_ns, cpu_s, sent, failed, dropped = (
            new - old for new, old in zip(now, before, strict=True)
        )
        stats = self._buffer.stats()
        sample = telemetry_pb2.AgentHealthSample(
            memory_rss_bytes=_rss_bytes(),
            collect_ms=self._collect_s * 1000,
            spool_batches=stats.batches,
            spool_bytes=stats.bytes,
            sent_batches=_uint32(sent),
            failed_sends=_uint32(failed),
            dropped_samples=_uint32(dropped),
            stuck_collectors=_uint32(stuck),
            unspooled_batches=stats.unspooled,
        )
        if elapsed_ns >= NS_PER_S:  # over less, the start itself would read as a spike
            sample.cpu_percent = 100 * max(0.0, cpu_s) / (elapsed_ns / NS_PER_S)
        if (offset_ms := self._offset.ms()) is not None:
            sample.clock_offset_ms = offset_ms
        self._collect_s = 0.0
        return sample

    def _totals(self) -> tuple[int, float, int, int, int]:
        return (
            self._clock.monotonic_ns(),
            self._cpu_time_s(),
            self._counters.sent_batches,
            self._counters.failed_sends,
            self._buffer.stats().dropped_samples,
        )


def _rss_bytes() -> int:
    """Return this process's resident memory (proc_pid_statm(5), else psutil)."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except OSError:
        import psutil  # 1 MB that an agent on Linux does not pay

        return psutil.Process().memory_info().rss
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _uint32(value: float) -> int:
    return max(0, min(UINT32_MAX, round(value)))
