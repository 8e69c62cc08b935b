"""How often a script posts: nobody says so, but alerts need to know what a gap is."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

SERVERS_MAX = 20_000  # remembered; the least recently posting goes first
GAPS = 3  # the shortest of so many: a post that was left out must not look like a new rhythm
INTERVAL_S = (1.0, 3600.0)
TOLERANCE = 0.25  # what counts as the same rhythm


@dataclass(slots=True)
class _Rhythm:
    """What was seen of one server."""

    last: datetime
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=GAPS))
    told_s: float | None = None


class Cadence:
    """Tells a server's interval from the times of its samples."""

    def __init__(self) -> None:
        self._rhythms: OrderedDict[int, _Rhythm] = OrderedDict()

    def observe(self, server_id: int, time: datetime) -> float | None:
        """Take the time of a sample; return the interval in seconds where it is news."""
        rhythm = self._rhythms.get(server_id)
        if rhythm is None:
            self._rhythms[server_id] = _Rhythm(time)
            if len(self._rhythms) > SERVERS_MAX:
                self._rhythms.popitem(last=False)
            return None
        self._rhythms.move_to_end(server_id)
        gap_s = (time - rhythm.last).total_seconds()
        if gap_s <= 0:
            return None  # late, or the same moment in another post
        rhythm.last = time
        shortest, longest = INTERVAL_S
        if not shortest <= gap_s <= longest:
            return None
        rhythm.gaps_s.append(gap_s)
        interval_s = min(rhythm.gaps_s)
        if rhythm.told_s and abs(interval_s / rhythm.told_s - 1) <= TOLERANCE:
            return None
        rhythm.told_s = interval_s
        return interval_s
