"""The two clocks that hostpulse reads: the wall's, which may step, and one that only goes on."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What code that needs the time is given, instead of calling `time` itself."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z; steps when somebody sets the clock."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment of this boot; never goes back, counts through suspend."""
        ...


class SystemClock:
    """The machine's clocks.

    The monotonic one is CLOCK_BOOTTIME (clock_gettime(2)) where the system has it: unlike
    CLOCK_MONOTONIC it goes on while a laptop or a virtual machine is suspended.
    """

    def __init__(self) -> None:
        # Absent in Python outside Linux; the name is looked up so that importing works anywhere.
        self._boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)

    def wall_ns(self) -> int:
        """Read the wall clock."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Read the clock that only goes on."""
        if self._boottime is None:
            return time.monotonic_ns()
        return time.clock_gettime_ns(self._boottime)


class ManualClock:
    """A clock that goes on when told to; for tests and simulations.

    Args:
        wall_ns: Where the wall clock starts; the default is 2026-01-01T00:00:00Z.
        monotonic_ns: Where the other one starts.
    """

    def __init__(
        self, *, wall_ns: int = 1_767_225_600 * NS_PER_S, monotonic_ns: int = 1_000 * NS_PER_S
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns

    def wall_ns(self) -> int:
        """Read the wall clock."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Read the clock that only goes on."""
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        if seconds < 0:
            raise ValueError(f"seconds must not be negative, got {seconds!r}")
        self._wall_ns += round(seconds * NS_PER_S)
        self._monotonic_ns += round(seconds * NS_PER_S)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does."""
        self._wall_ns += round(seconds * NS_PER_S)
