"""When a sample was taken, where the clocks of agent and gateway may disagree.

Up to five minutes off, the agent's time is kept and the offset recorded. Beyond, the time is told
by the agent's monotonic clock, which no operator can set: received - (sent - taken). A stepped
clock therefore loses nothing and tears no hole. What we read late, because we were frozen or the
database was away, is no older for it: only our own step, seen against our own monotonic clock, or
two clocks that drift apart, make an agent's zero look later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostpulse.clock import Clock
    from hostpulse.v1 import telemetry_pb2 as pb

TOLERANCE_NS = 300 * 1_000_000_000
STEP_NS = 1_000_000_000  # of our wall clock against our monotonic one: slewing does less
DRIFT = 2e-4  # of two clocks, each of which is off by 100 parts in a million at most
DRIFT_STEP_NS = 100_000_000  # so that the batches of one tick get one time
DRIFT_MAX_NS = 10_000_000_000  # at once: what is more is late, not drifted
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_OFFSETS: Mapping[int, float] = MappingProxyType({})
WALL_MAX_NS = 4_102_444_800 * 1_000_000_000  # the year 2100: beyond it nothing is a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The time to store, how far the agent's clock is ahead of ours, and whether it is believed."""

    time: datetime
    offset_ms: float
    clock_is_wrong: bool


def to_datetime(wall_ns: int) -> datetime:
    """Convert nanoseconds since 1970 to a datetime in UTC; PostgreSQL keeps microseconds."""
    return EPOCH + timedelta(microseconds=min(max(wall_ns, 0), WALL_MAX_NS) // 1000)


class SessionClock:
    """Translates one stream's times.

    `base_ns` is what our wall clock showed when the agent's monotonic one stood at zero, as far as
    we can tell: delivery only ever makes it look later, so the earliest estimate is the best.

    Args:
        hello: with the agent's clocks.
        clock: ours.
        last_offset_ms: of the stream before, for batches of an earlier boot; None is unknown.
        offsets_ms: the same by epoch, where it is known better.
    """

    def __init__(
        self,
        hello: pb.Hello,
        clock: Clock,
        last_offset_ms: float | None,
        offsets_ms: Mapping[int, float] = NO_OFFSETS,
    ) -> None:
        self._boot_id = hello.boot_id
        self._clock = clock
        now_ns = clock.monotonic_ns()
        self._zero_ns = clock.wall_ns() - now_ns  # our wall clock, when our other one began
        self._base_ns = self._zero_ns + now_ns - hello.monotonic_ns
        self._drifted_ns = now_ns  # when drift was last allowed for
        self._offset_ns = hello.time_unix_ns - self._zero_ns - now_ns
        self._last_offset_ms = last_offset_ms or 0.0
        self._offsets_ms = offsets_ms

    @property
    def offset_ms(self) -> float:
        """How far the agent's clock was ahead of ours when last compared."""
        return self._offset_ns / 1e6

    @property
    def is_wrong(self) -> bool:
        """Whether it is too far off to be believed."""
        return abs(self._offset_ns) > TOLERANCE_NS

    def stamp(self, batch: pb.MetricBatch) -> Stamp:
        """Say when the samples of a batch, received now, were taken."""
        if batch.boot_id != self._boot_id:
            return self._stamp_of_earlier_boot(batch)
        self._rebase(batch.sent_monotonic_ns)
        taken_ns = self._base_ns + batch.monotonic_ns
        self._offset_ns = batch.time_unix_ns - taken_ns
        return Stamp(
            time=to_datetime(taken_ns if self.is_wrong else batch.time_unix_ns),
            offset_ms=self.offset_ms,
            clock_is_wrong=self.is_wrong,
        )

    def _rebase(self, sent_ns: int) -> None:
        """Learn from a batch that was sent at `sent_ns` by the agent's monotonic clock."""
        now_ns = self._clock.monotonic_ns()
        step_ns = self._clock.wall_ns() - now_ns - self._zero_ns
        if abs(step_ns) > STEP_NS:
            self._zero_ns += step_ns
            self._base_ns += step_ns
        late_ns = self._zero_ns + now_ns - sent_ns - self._base_ns
        drift_ns = min(round((now_ns - self._drifted_ns) * DRIFT), DRIFT_MAX_NS, late_ns)
        if late_ns < 0:
            self._base_ns += late_ns
        elif late_ns > STEP_NS and drift_ns >= DRIFT_STEP_NS:
            self._base_ns += drift_ns
            self._drifted_ns = now_ns

    def _stamp_of_earlier_boot(self, batch: pb.MetricBatch) -> Stamp:
        """Correct by the last known offset: that boot's monotonic clock tells us nothing."""
        offset_ms = self._offsets_ms.get(batch.epoch, self._last_offset_ms)
        wrong = abs(offset_ms * 1e6) > TOLERANCE_NS
        correction_ns = int(offset_ms * 1e6) if wrong else 0
        return Stamp(
            time=to_datetime(batch.time_unix_ns - correction_ns),
            offset_ms=offset_ms,
            clock_is_wrong=wrong,
        )
