"""What has been collected and has no verdict yet, in memory and within bounds.

A batch leaves on a verdict of a gateway, or because the buffer is full or the batch too old: then
the oldest goes first, its samples are counted, and a DroppedRange remembers it until a gateway has
been told. `agent.spool_buffer` keeps the same on disk.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from agent.batches import BufferedBatch
from agent.dropped import Dropped, DroppedRanges
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent import batches
    from agent.spool_rows import Head

NS_PER_S = 1_000_000_000
LIVE_MAX_BATCHES = 64
ENTRY_BYTES = 400  # what Python needs for an entry beside its payload, about


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferBounds:
    """How much is kept for how long."""

    max_bytes: int = 32 * 1024 * 1024
    max_age_s: float = 24 * 3600.0


SPOOL = BufferBounds(max_bytes=256 * 1024 * 1024)  # on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStats:
    """What is kept now, and how many samples were ever given up.

    Attributes:
        unspooled: Those of the batches that would not outlive this process.
    """

    batches: int
    bytes: int
    dropped_samples: int
    unspooled: int


class Places:
    """Gives out places, from 1."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """Return the next place."""
        self.last += 1
        return self.last


class Buffer(Protocol):
    """The narrow interface between those who collect and those who send.

    `put` never blocks and never refuses: it makes room. `page` reads without removing.
    """

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        ...

    @property
    def openings(self) -> int:
        """How often `epochs` may have become more: a stream that began before knows them not."""
        ...

    def epochs(self) -> Sequence[telemetry_pb2.EpochState]:
        """Return how far the epochs of former processes got of which something is kept."""
        ...

    def live_after(self, since_monotonic_ns: int) -> int:
        """Return the place after which everything was taken in this boot since a moment.

        Looks at the newest LIVE_MAX_BATCHES only: what is before them is no news any more.
        """
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
    """Keeps batches in memory: a crash or a reboot loses what is in it.

    Args:
        bounds: How much is kept for how long.
        places: Where places come from, if others draw from there, too.
    """

    def __init__(self, bounds: BufferBounds | None = None, *, places: Places | None = None) -> None:
        self._bounds = bounds or BufferBounds()
        self._places_given = places or Places()
        # Ordered by place. An OrderedDict, because deleting from the front of a dict and then
        # reading its front again costs a walk over everything that was deleted.
        self._by_place: OrderedDict[int, batches.NumberedBatch] = OrderedDict()
        self._places: dict[tuple[int, int], int] = {}
        self._bytes = 0
        self._dropped_samples = 0
        self._dropped = DroppedRanges()
        self._last_place = 0

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        return self._dropped.all

    @property
    def openings(self) -> int:
        """Never."""
        return 0

    def epochs(self) -> Sequence[telemetry_pb2.EpochState]:
        """Return nothing: what is kept is of this process."""
        return ()

    def live_after(self, since_monotonic_ns: int) -> int:
        """Return the place after which everything was taken since a moment."""
        place = self._last_place
        for each, batch in islice(reversed(self._by_place.items()), LIVE_MAX_BATCHES):
            if batch.monotonic_ns < since_monotonic_ns:
                break
            place = each - 1
        return place

    def put(self, batch: batches.NumberedBatch) -> None:
        """Keep a batch, dropping first what is too old, then the oldest of what is too much.

        The batch's own time says what is too old: the newest is now.
        """
        horizon_ns = batch.monotonic_ns - round(self._bounds.max_age_s * NS_PER_S)
        while self._by_place and self._oldest().monotonic_ns < horizon_ns:
            self._drop_oldest(telemetry_pb2.DROP_REASON_TOO_OLD)
        self._last_place = self._places_given.next()
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
        self._dropped.forget(dropped)

    def stats(self) -> BufferStats:
        """Return what is kept now."""
        return BufferStats(
            batches=len(self._by_place),
            bytes=self._bytes,
            dropped_samples=self._dropped_samples,
            unspooled=len(self._by_place),
        )

    def _oldest(self) -> batches.NumberedBatch:
        return next(iter(self._by_place.values()))

    def _drop_oldest(self, reason: telemetry_pb2.DropReason) -> None:
        batch = self._oldest()
        self.settle(batch.epoch, batch.seq)
        self._dropped_samples += batch.samples
        self._dropped.add(given_up(batch, reason))


def given_up(batch: batches.NumberedBatch | Head, reason: telemetry_pb2.DropReason) -> Dropped:
    """Return the range of one batch."""
    return Dropped(
        epoch=batch.epoch,
        first_seq=batch.seq,
        last_seq=batch.seq,
        from_time_unix_ns=batch.time_unix_ns,
        to_time_unix_ns=batch.time_unix_ns,
        reason=reason,
    )


def _cost(batch: batches.NumberedBatch) -> int:
    return len(batch.payload) + ENTRY_BYTES
