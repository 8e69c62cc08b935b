"""What has been collected and has no verdict yet, in memory and within bounds.

A batch leaves on a verdict of a gateway, or because the buffer is full or the batch too old: then
the oldest goes first, its samples are counted, and a DroppedRange remembers it until a gateway has
been told. A disk spool can stand behind the same interface.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent import batches

NS_PER_S = 1_000_000_000
ENTRY_BYTES = 400  # what Python needs for an entry beside its payload, about
MAX_DROPPED_RANGES = 256  # beyond, neighbours are joined


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferBounds:
    """How much is kept for how long."""

    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedBatch:
    """A batch and its place in the order of arrival; places rise and are never reused."""

    place: int
    batch: batches.NumberedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStats:
    """What is kept now, and how many samples were ever given up."""

    batches: int
    bytes: int
    dropped_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Numbers from first to last that were given up, and the times they were taken at."""

    epoch: int
    first_seq: int
    last_seq: int
    from_time_unix_ns: int
    to_time_unix_ns: int
    reason: telemetry_pb2.DropReason


class Buffer(Protocol):
    """The narrow interface between those who collect and those who send.

    `put` never blocks and never refuses: it makes room. `page` reads without removing.
    """

    @property
    def last_place(self) -> int:
        """The place of the newest batch ever put; 0 before the first."""
        ...

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        ...

    def put(self, batch: batches.NumberedBatch) -> None:
        """Keep a batch until its verdict, dropping the oldest where there is no room."""
        ...

    def page(self, *, after: int, limit: int) -> Sequence[BufferedBatch]:
        """Return up to `limit` batches whose place is greater than `after`, the oldest first."""
        ...

    def settle(self, epoch: int, seq: int) -> bool:
        """Forget a batch that has its verdict; False where it is not here any more."""
        ...

    def forget(self, epoch: int, ranges: Iterable[tuple[int, int]]) -> int:
        """Forget all batches of an epoch within (first, last) ranges; return how many."""
        ...

    def reported(self, dropped: Dropped) -> None:
        """Forget a range that a gateway knows of; one that has grown since is kept."""
        ...

    def stats(self) -> BufferStats:
        """Return what is kept now."""
        ...


class MemoryBuffer:
    """The buffer of an agent without a disk spool: a crash or a reboot loses what is in it."""

    def __init__(self, bounds: BufferBounds | None = None) -> None:
        self._bounds = bounds or BufferBounds()
        # Ordered by place. An OrderedDict, because deleting from the front of a dict and then
        # reading its front again costs a walk over everything that was deleted.
        self._by_place: OrderedDict[int, batches.NumberedBatch] = OrderedDict()
        self._places: dict[tuple[int, int], int] = {}
        self._bytes = 0
        self._dropped_samples = 0
        self._dropped: list[Dropped] = []
        self._last_place = 0

    @property
    def last_place(self) -> int:
        """The place of the newest batch ever put; 0 before the first."""
        return self._last_place

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        return tuple(self._dropped)

    def put(self, batch: batches.NumberedBatch) -> None:
        """Keep a batch, dropping first what is too old, then the oldest of what is too much.

        The batch's own time says what is too old: the newest is now.
        """
        horizon_ns = batch.monotonic_ns - round(self._bounds.max_age_s * NS_PER_S)
        while self._by_place and self._oldest().monotonic_ns < horizon_ns:
            self._drop_oldest(telemetry_pb2.DROP_REASON_TOO_OLD)
        self._last_place += 1
        self._by_place[self._last_place] = batch
        self._places[batch.epoch, batch.seq] = self._last_place
        self._bytes += _cost(batch)
        while self._bytes > self._bounds.max_bytes and self._by_place:
            self._drop_oldest(telemetry_pb2.DROP_REASON_MEMORY_BUFFER_FULL)

    def page(self, *, after: int, limit: int) -> Sequence[BufferedBatch]:
        """Return up to `limit` batches whose place is greater than `after`, the oldest first.

        Walks over what is kept at or before `after`: cheap for a reader that goes on from where
        it was, because what it has passed is settled soon.
        """
        if after >= self._last_place:
            return ()
        newer = (item for item in self._by_place.items() if item[0] > after)
        return [BufferedBatch(place=place, batch=batch) for place, batch in islice(newer, limit)]

    def settle(self, epoch: int, seq: int) -> bool:
        """Forget a batch that has its verdict; False where it is not here any more."""
        place = self._places.pop((epoch, seq), None)
        if place is None:
            return False
        self._bytes -= _cost(self._by_place.pop(place))
        return True

    def forget(self, epoch: int, ranges: Iterable[tuple[int, int]]) -> int:
        """Forget all batches of an epoch within (first, last) ranges; return how many."""
        spans = list(ranges)
        settled = [
            seq
            for each, seq in self._places
            if each == epoch and any(first <= seq <= last for first, last in spans)
        ]
        for seq in settled:
            self.settle(epoch, seq)
        return len(settled)

    def reported(self, dropped: Dropped) -> None:
        """Forget a range that a gateway knows of; one that has grown since is kept."""
        if dropped in self._dropped:
            self._dropped.remove(dropped)

    def stats(self) -> BufferStats:
        """Return what is kept now."""
        return BufferStats(
            batches=len(self._by_place), bytes=self._bytes, dropped_samples=self._dropped_samples
        )

    def _oldest(self) -> batches.NumberedBatch:
        return next(iter(self._by_place.values()))

    def _drop_oldest(self, reason: telemetry_pb2.DropReason) -> None:
        batch = self._oldest()
        self.settle(batch.epoch, batch.seq)
        self._dropped_samples += batch.samples
        self._remember(batch, reason)

    def _remember(self, batch: batches.NumberedBatch, reason: telemetry_pb2.DropReason) -> None:
        """Add a batch to the ranges, merged into its neighbour where there is one.

        Past MAX_DROPPED_RANGES it is merged over the hole of what was committed in between: a
        gateway takes what it has committed off a range, so nothing is reported wrongly, and the
        list has a bound.
        """
        new = Dropped(
            epoch=batch.epoch,
            first_seq=batch.seq,
            last_seq=batch.seq,
            from_time_unix_ns=batch.time_unix_ns,
            to_time_unix_ns=batch.time_unix_ns,
            reason=reason,
        )
        crowded = len(self._dropped) >= MAX_DROPPED_RANGES
        for at in reversed(range(len(self._dropped))):
            known = self._dropped[at]
            same = known.epoch == new.epoch and known.reason == new.reason
            if same and (crowded or known.last_seq + 1 == new.first_seq):
                self._dropped[at] = _joined(known, new)
                return
            if not crowded:
                break
        self._dropped.append(new)


def _cost(batch: batches.NumberedBatch) -> int:
    return len(batch.payload) + ENTRY_BYTES


def _joined(one: Dropped, other: Dropped) -> Dropped:
    return replace(
        one,
        first_seq=min(one.first_seq, other.first_seq),
        last_seq=max(one.last_seq, other.last_seq),
        # The wall clock may have stepped back in between.
        from_time_unix_ns=min(one.from_time_unix_ns, other.from_time_unix_ns),
        to_time_unix_ns=max(one.to_time_unix_ns, other.to_time_unix_ns),
    )
