"""Which families are due when: aligned on one origin, so that what is due together is one tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostpulse.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostpulse.v1 import telemetry_pb2


class Schedule:
    """Moments on the monotonic clock, counted from an origin in whole intervals per family.

    A moment that passed unseen (suspend, a busy host) is skipped, not caught up: a family is due
    once, however many of its moments have passed.

    Args:
        intervals_s: Seconds between two readings of a family.
        origin_ns: Where all families are due for the first time.
    """

    def __init__(
        self, intervals_s: Mapping[telemetry_pb2.Family, float], *, origin_ns: int
    ) -> None:
        if not intervals_s:
            raise ValueError("intervals_s must name at least one family, got none")
        self._intervals_ns = {each: round(s * NS_PER_S) for each, s in intervals_s.items()}
        self._origin_ns = origin_ns
        self._next_ns = dict.fromkeys(self._intervals_ns, origin_ns)

    def has(self, family: telemetry_pb2.Family) -> bool:
        """Say whether a family is ever due."""
        return family in self._intervals_ns

    def next_ns(self) -> int:
        """Return the moment at which the next family is due."""
        return min(self._next_ns.values())

    def take_due(self, now_ns: int) -> Sequence[telemetry_pb2.Family]:
        """Return the families due by now and move each to its next moment after now."""
        due = [family for family, moment in self._next_ns.items() if moment <= now_ns]
        for family in due:
            interval = self._intervals_ns[family]
            passed = (now_ns - self._origin_ns) // interval
            self._next_ns[family] = self._origin_ns + (passed + 1) * interval
        return due

    def changed(
        self, intervals_s: Mapping[telemetry_pb2.Family, float], *, now_ns: int
    ) -> Schedule:
        """Return a schedule of other intervals on the same grid.

        A family whose interval stays, or that is due, keeps its next moment; one that is new or has
        another interval is due at its next moment after now.
        """
        schedule = Schedule(intervals_s, origin_ns=self._origin_ns)
        schedule.take_due(now_ns)
        for family, moment in self._next_ns.items():
            is_due = family in schedule._next_ns and moment <= now_ns
            if is_due or schedule._intervals_ns.get(family) == self._intervals_ns[family]:
                schedule._next_ns[family] = moment
        return schedule
