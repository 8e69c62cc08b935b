"""What has been collected and has no verdict yet, on disk; in memory while the disk does not serve.

put ─▶ SpoolAccess ─▶ Spool
         └─ the disk does not serve ─▶ MemoryBuffer, from there to the spool, tried every minute
"""

from __future__ import annotations

import functools
import heapq
import itertools
from typing import TYPE_CHECKING

from agent.buffer import (
    LIVE_MAX_BATCHES,
    NS_PER_S,
    SPOOL,
    BufferBounds,
    BufferStats,
    MemoryBuffer,
    Places,
)
from agent.checkpoints import CHECK_INTERVAL_S, Checkpoints
from agent.dropped import DroppedRanges
from agent.spool_access import SpoolAccess
from agent.spool_file import SpoolUnusableError
from agent.spool_room import SpoolRoom, drop_oldest_epochs
from agent.spool_rows import SpoolCorruptError, cost_bytes
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from agent.batches import BufferedBatch, NumberedBatch
    from agent.dropped import Dropped
    from agent.spool import Spool
    from agent.spool_rows import Head
    from hostpulse.backoff import Pause

FILE = "spool/spool.db"
SETTLED_MAX = 256  # removed together with the next batch, or when there are so many
RETRY_S = 60.0  # between two attempts to have a spool (again)


class SpoolBuffer:
    """A buffer that outlives the process; see `agent.buffer.Buffer`.

    Args:
        data_dir: Of the agent; the spool has a directory in it.
        boot_id: Of this boot.
        bounds: How much is kept on disk for how long.
        memory: The same while there is no disk.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        boot_id: bytes,
        bounds: BufferBounds | None = None,
        memory: BufferBounds | None = None,
    ) -> None:
        self._boot_id = boot_id
        self._room = SpoolRoom(bounds or SPOOL, boot_id=boot_id)
        self._places = Places()
        self._memory = MemoryBuffer(memory, places=self._places)
        self._access = SpoolAccess(
            data_dir / FILE, opened=self._take_over, elsewhere=self._in_memory
        )
        self._ranges = DroppedRanges()
        self._settled: dict[int, int] = {}
        self._batches = self._bytes = self._dropped_samples = 0
        self._retry_ns = self._openings = 0
        self._access.open()

    def rebound(self, bounds: BufferBounds) -> None:
        """Keep so much from the next batch on."""
        self._room = SpoolRoom(bounds, boot_id=self._boot_id)

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        return (*self._ranges.all, *self._memory.dropped)

    @property
    def openings(self) -> int:
        """How often a spool was opened, with what former processes left in it."""
        return self._openings

    def epochs(self) -> Sequence[telemetry_pb2.EpochState]:
        """Return how far the epochs got of which something is in the spool."""
        found = self._access.attempt(lambda spool: spool.epochs()) or ()
        return [telemetry_pb2.EpochState(epoch=e.epoch, last_seq=e.last_seq) for e in found]

    def live_after(self, since_monotonic_ns: int) -> int:
        """Return the place after which everything was taken in this boot since a moment."""
        place = self._memory.live_after(since_monotonic_ns)
        if self._memory.stats().batches:
            return place
        place = self._places.last
        for head in self._access.attempt(lambda spool: spool.newest(LIVE_MAX_BATCHES)) or ():
            if head.boot_id != self._boot_id or head.monotonic_ns < since_monotonic_ns:
                break
            place = head.place - 1
        return place

    def put(self, batch: NumberedBatch) -> None:
        """Keep a batch, dropping first what is too old, then the oldest of what is too much."""
        if self._access.spool is None or self._memory.stats().batches:
            self._retry(batch.monotonic_ns)
        if not self._access.attempt(lambda spool: self._spooled(spool, batch)):
            self._memory.put(batch)

    def page(self, *, after: int, limit: int) -> Sequence[BufferedBatch]:
        """Return up to `limit` batches whose place is greater than `after`, the oldest first."""
        if after >= self._places.last:
            return ()
        if any(place > after for place in self._settled):
            self._access.attempt(self._remove_settled)
        found = self._access.attempt(lambda spool: spool.page(after=after, limit=limit)) or ()
        kept = [each for each in found if each.place not in self._settled]
        more = self._memory.page(after=after, limit=limit)
        if not more:
            return kept
        return list(itertools.islice(heapq.merge(kept, more, key=lambda each: each.place), limit))

    def settle(self, epoch: int, seq: int) -> bool:
        """Forget a batch that has its verdict; False where it is not here any more.

        On disk it is removed with the next batch that is put: a process that dies before offers it
        again, and the gateway knows it.
        """
        head = self._access.attempt(lambda spool: spool.find(epoch, seq))
        if head is None or head.place in self._settled:
            return self._memory.settle(epoch, seq)
        self._forget(head)
        if len(self._settled) >= SETTLED_MAX:
            self._access.attempt(self._remove_settled)
        return True

    def forget(self, epoch: int, ranges: Iterable[tuple[int, int]]) -> int:
        """Forget all batches of an epoch within (first, last) ranges; return how many."""
        spans = list(ranges)
        forgotten = self._memory.forget(epoch, spans)
        for head in (
            (self._access.attempt(lambda spool: spool.of_epoch(epoch)) or ()) if spans else ()
        ):
            inside = any(first <= head.seq <= last for first, last in spans)
            if inside and head.place not in self._settled:
                self._forget(head)
                forgotten += 1
        self._access.attempt(self._remove_settled)
        return forgotten

    def reported(self, dropped: Dropped) -> None:
        """Forget a range that a gateway knows of; one that has grown since is kept."""
        self._memory.reported(dropped)
        if self._ranges.forget(dropped):
            self._access.attempt(self._keep_ranges)

    def stats(self) -> BufferStats:
        """Return what is kept now."""
        memory = self._memory.stats()
        return BufferStats(
            batches=self._batches + memory.batches,
            bytes=self._bytes + memory.bytes,
            dropped_samples=self._dropped_samples + memory.dropped_samples,
            unspooled=memory.batches,
        )

    async def keep(self, stop: asyncio.Event, pause: Pause) -> None:
        """Have what was put reach the disk now and then, until the stop."""
        checkpoints = Checkpoints()
        while not await pause(CHECK_INTERVAL_S, stop):
            spool = self._access.spool
            if spool is None or not checkpoints.is_due(spool, batches=self._batches):
                continue
            if not self._batches:
                self._access.attempt(lambda each: each.give_back())
            try:
                await checkpoints.make(functools.partial(self._access.checkpoint, spool))
            except (SpoolUnusableError, SpoolCorruptError) as error:
                self._access.note(str(error))

    def close(self) -> None:
        """Write down what is in memory if that works now, and close the file."""
        self._retry(None)
        self._access.attempt(self._remove_settled)
        self._access.close()

    def _retry(self, now_ns: int | None) -> None:
        """Open the spool again and move to it what is in memory; not too often."""
        if now_ns is not None:
            if now_ns < self._retry_ns:
                return
            self._retry_ns = now_ns + round(RETRY_S * NS_PER_S)
        self._access.open()
        for each in self._memory.page(after=0, limit=self._memory.stats().batches):
            batch = each.batch
            # It gets a new place: a stream that carries it already knows it by its number.
            if not self._access.attempt(lambda spool, batch=batch: self._spooled(spool, batch)):
                return
            self._memory.settle(batch.epoch, batch.seq)
        for dropped in self._memory.dropped:
            self._ranges.add(dropped)
            self._memory.reported(dropped)
        self._access.serves()

    def _spooled(self, spool: Spool, batch: NumberedBatch) -> bool:
        """Write a batch and what follows from it, all in one transaction; returns True."""
        ranges = self._ranges.copy()
        cost = cost_bytes(len(batch.payload))
        with spool.transaction():
            spool.remove(self._settled)
            gone = self._room.make(spool, batch, used_bytes=self._bytes + cost, ranges=ranges)
            spool.insert(self._places.next(), batch, self._boot_id)
            if gone:
                spool.keep_dropped(ranges.all)
        self._settled.clear()
        self._ranges = ranges
        self._batches += 1 - len(gone)
        self._bytes += cost - sum(head.cost_bytes for head in gone)
        self._dropped_samples += sum(head.samples for head in gone)
        return True

    def _forget(self, head: Head) -> None:
        self._settled[head.place] = head.cost_bytes
        self._batches -= 1
        self._bytes -= head.cost_bytes

    def _remove_settled(self, spool: Spool) -> None:
        if self._settled:
            with spool.transaction():
                spool.remove(self._settled)
            self._settled.clear()

    def _keep_ranges(self, spool: Spool) -> None:
        with spool.transaction():
            spool.keep_dropped(self._ranges.all)

    def _in_memory(self) -> Collection[tuple[int, int]]:
        kept = self._memory.page(after=0, limit=self._memory.stats().batches)
        return [(each.batch.epoch, each.batch.seq) for each in kept]

    def _take_over(self, spool: Spool) -> None:
        """Begin to use a spool that was just opened; what it can't do leaves everything as it is.

        Raises:
            SpoolUnusableError, SpoolCorruptError: It does not serve.
        """
        ranges = DroppedRanges(spool.dropped())
        for known in self._ranges.all:
            if known not in ranges.all:
                ranges.add(known)
        with spool.transaction():
            gone = drop_oldest_epochs(spool, ranges)
            spool.keep_dropped(ranges.all)
            spool.forget_finished_epochs()
        batches, cost, last_place = spool.totals()
        self._batches, self._bytes, self._ranges = batches, cost, ranges
        self._settled.clear()
        self._openings += 1
        self._dropped_samples += gone
        self._places.last = max(self._places.last, last_place)
