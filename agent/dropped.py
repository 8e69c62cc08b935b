"""What was given up and not yet reported: ranges of numbers, merged, within a bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_DROPPED_RANGES = 256  # beyond, neighbours are joined
FORGOTTEN_BEYOND = 400  # where nothing can be joined, as after hundreds of lost epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Numbers from first to last that were given up, and the times they were taken at."""

    epoch: int
    first_seq: int
    last_seq: int
    from_time_unix_ns: int
    to_time_unix_ns: int
    reason: telemetry_pb2.DropReason


class DroppedRanges:
    """A bounded list, the oldest first."""

    def __init__(self, ranges: Iterable[Dropped] = ()) -> None:
        self._ranges = list(ranges)

    @property
    def all(self) -> Sequence[Dropped]:
        """Every range, the oldest first."""
        return tuple(self._ranges)

    def copy(self) -> DroppedRanges:
        """Return a list of its own with the same ranges."""
        return DroppedRanges(self._ranges)

    def add(self, new: Dropped) -> None:
        """Add a range, merged into its neighbour where there is one.

        Past MAX_DROPPED_RANGES it is merged over the hole of what was committed in between: a
        gateway takes what it has committed off a range, so nothing is reported wrongly, and the
        list has a bound. Between the holes of a broken spool lies what could be read of it: those
        are never joined. The oldest beyond FORGOTTEN_BEYOND lose their reason, and stay holes.
        """
        crowded = len(self._ranges) >= MAX_DROPPED_RANGES
        bridges = crowded and new.reason != telemetry_pb2.DROP_REASON_SPOOL_CORRUPT
        for at in reversed(range(len(self._ranges))):
            known = self._ranges[at]
            same = known.epoch == new.epoch and known.reason == new.reason
            if same and (bridges or known.last_seq + 1 == new.first_seq):
                self._ranges[at] = _joined(known, new)
                return
            if not crowded:
                break
        self._ranges.append(new)
        del self._ranges[:-FORGOTTEN_BEYOND]

    def forget(self, reported: Dropped) -> bool:
        """Forget a range that a gateway knows of; one that has grown since is kept."""
        if reported not in self._ranges:
            return False
        self._ranges.remove(reported)
        return True


def _joined(one: Dropped, other: Dropped) -> Dropped:
    return replace(
        one,
        first_seq=min(one.first_seq, other.first_seq),
        last_seq=max(one.last_seq, other.last_seq),
        # The wall clock may have stepped back in between.
        from_time_unix_ns=min(one.from_time_unix_ns, other.from_time_unix_ns),
        to_time_unix_ns=max(one.to_time_unix_ns, other.to_time_unix_ns),
    )
