"""What has been collected and has no verdict yet, on disk; in memory while the disk does not serve.

put ─▶ Spool ──────── the disk is full or read-only ──▶ MemoryBuffer, tried again every minute
         └─ the file is corrupt ─▶ set aside, what can be read is kept, the rest is reported
"""

from __future__ import annotations

import heapq
import itertools
import logging
from typing import TYPE_CHECKING

from agent import quarantine
from agent.buffer import (
    LIVE_MAX_BATCHES,
    NS_PER_S,
    SPOOL,
    BufferBounds,
    BufferStats,
    MemoryBuffer,
    Places,
    given_up,
)
from agent.checkpoints import CHECK_INTERVAL_S, Checkpoints
from agent.dropped import DroppedRanges
from agent.spool_file import SpoolUnusableError
from agent.spool_rows import Head, SpoolCorruptError, cost_bytes
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from agent.batches import BufferedBatch, NumberedBatch
    from agent.dropped import Dropped
    from agent.spool import Spool
    from hostpulse.backoff import Pause

    T = TypeVar("T")

FILE = "spool/spool.db"
EPOCHS_MAX = 500  # of former processes; a gateway lets a Hello announce 1 000
SETTLED_MAX = 256  # removed together with the next batch, or when there are so many
RETRY_S = 60.0  # between two attempts to have a spool (again)

log = logging.getLogger(__name__)


class SpoolBuffer:
    """A buffer that outlives the process; see `agent.buffer.Buffer`.

    Args:
        data_dir: Of the agent; the spool has a directory in it.
        boot_id: Of this boot.
        bounds: How much is kept on disk for how long; may change, the next batch goes by it.
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
        self._path = data_dir / FILE
        self._boot_id = boot_id
        self.bounds = bounds or SPOOL
        self._places = Places()
        self._memory = MemoryBuffer(memory, places=self._places)
        self._spool: Spool | None = None
        self._ranges = DroppedRanges()
        self._settled: dict[int, int] = {}
        self._batches = self._bytes = self._dropped_samples = 0
        self._retry_ns = 0
        self._problem = ""
        self._open()

    @property
    def last_place(self) -> int:
        """The place of the newest batch ever put; 0 before the first."""
        return self._places.last

    @property
    def dropped(self) -> Sequence[Dropped]:
        """What was given up and not yet reported, the oldest first."""
        return (*self._ranges.all, *self._memory.dropped)

    def epochs(self) -> Sequence[telemetry_pb2.EpochState]:
        """Return how far the epochs got of which something is in the spool."""
        found = self._try(lambda spool: spool.epochs()) or ()
        return [telemetry_pb2.EpochState(epoch=e.epoch, last_seq=e.last_seq) for e in found]

    def live_after(self, since_monotonic_ns: int) -> int:
        """Return the place after which everything was taken in this boot since a moment."""
        place = self._memory.live_after(since_monotonic_ns)
        if self._memory.stats().batches:
            return place
        place = self._places.last
        for head in self._try(lambda spool: spool.newest(LIVE_MAX_BATCHES)) or ():
            if head.boot_id != self._boot_id or head.monotonic_ns < since_monotonic_ns:
                break
            place = head.place - 1
        return place

    def put(self, batch: NumberedBatch) -> None:
        """Keep a batch, dropping first what is too old, then the oldest of what is too much."""
        if self._spool is None or self._memory.stats().batches:
            self._retry(batch.monotonic_ns)
        if not self._try(lambda spool: self._spooled(spool, batch)):
            self._memory.put(batch)

    def page(self, *, after: int, limit: int) -> Sequence[BufferedBatch]:
        """Return up to `limit` batches whose place is greater than `after`, the oldest first."""
        if after >= self._places.last:
            return ()
        if any(place > after for place in self._settled):
            self._try(self._remove_settled)
        found = self._try(lambda spool: spool.page(after=after, limit=limit)) or ()
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
        head = self._try(lambda spool: spool.find(epoch, seq))
        if head is None or head.place in self._settled:
            return self._memory.settle(epoch, seq)
        self._forget(head)
        if len(self._settled) >= SETTLED_MAX:
            self._try(self._remove_settled)
        return True

    def forget(self, epoch: int, ranges: Iterable[tuple[int, int]]) -> int:
        """Forget all batches of an epoch within (first, last) ranges; return how many."""
        spans = list(ranges)
        forgotten = self._memory.forget(epoch, spans)
        for head in (self._try(lambda spool: spool.of_epoch(epoch)) or ()) if spans else ():
            inside = any(first <= head.seq <= last for first, last in spans)
            if inside and head.place not in self._settled:
                self._forget(head)
                forgotten += 1
        self._try(self._remove_settled)
        return forgotten

    def reported(self, dropped: Dropped) -> None:
        """Forget a range that a gateway knows of; one that has grown since is kept."""
        self._memory.reported(dropped)
        if self._ranges.forget(dropped):
            self._try(self._keep_ranges)

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
            spool = self._spool
            if spool is None or not checkpoints.is_due(spool, batches=self._batches):
                continue
            if not self._batches:
                self._try(lambda each: each.give_back())
            try:
                await checkpoints.make(spool)
            except (SpoolUnusableError, SpoolCorruptError) as error:
                self._note(str(error))

    def close(self) -> None:
        """Write down what is in memory if that works now, and close the file."""
        self._retry(None)
        self._try(self._remove_settled)
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _retry(self, now_ns: int | None) -> None:
        """Open the spool again and move to it what is in memory; not too often."""
        if now_ns is not None:
            if now_ns < self._retry_ns:
                return
            self._retry_ns = now_ns + round(RETRY_S * NS_PER_S)
        if self._spool is None:
            self._open()
        for each in self._memory.page(after=0, limit=self._memory.stats().batches):
            batch = each.batch
            # It gets a new place, and where it is on its way already it is sent twice: no harm.
            if not self._try(lambda spool, batch=batch: self._spooled(spool, batch)):
                return
            self._memory.settle(batch.epoch, batch.seq)
        for dropped in self._memory.dropped:
            self._ranges.add(dropped)
            self._memory.reported(dropped)
        if self._problem and self._spool is not None:
            self._problem = ""
            log.info("spool_usable_again", extra={"path": str(self._path)})

    def _spooled(self, spool: Spool, batch: NumberedBatch) -> bool:
        """Write a batch and what follows from it, all in one transaction; returns True."""
        ranges, gone = self._ranges.copy(), list[Head]()
        cost = cost_bytes(len(batch.payload))
        with spool.transaction():
            spool.remove(self._settled)
            excess = self._bytes + cost - self.bounds.max_bytes
            while (oldest := spool.oldest()) and (
                reason := self._reason_to_drop(oldest[0], batch, excess)
            ):
                gone += oldest
                excess -= oldest[0].cost_bytes
                spool.remove([oldest[0].place])
                ranges.add(given_up(oldest[0], reason))
            spool.insert(self._places.next(), batch, self._boot_id)
            if gone:
                spool.keep_dropped(ranges.all)
        self._settled.clear()
        self._ranges = ranges
        self._batches += 1 - len(gone)
        self._bytes += cost - sum(head.cost_bytes for head in gone)
        self._dropped_samples += sum(head.samples for head in gone)
        return True

    def _reason_to_drop(
        self, head: Head, batch: NumberedBatch, excess_bytes: int
    ) -> telemetry_pb2.DropReason | None:
        """Say why a batch has to go: the new batch's times are now."""
        age_ns = round(self.bounds.max_age_s * NS_PER_S)
        # The monotonic clock of another boot says nothing, and the wall clock may have stepped.
        same_boot = head.boot_id == self._boot_id
        taken_ns = head.monotonic_ns if same_boot else head.time_unix_ns
        now_ns = batch.monotonic_ns if same_boot else batch.time_unix_ns
        if taken_ns < now_ns - age_ns:
            return telemetry_pb2.DROP_REASON_TOO_OLD
        return telemetry_pb2.DROP_REASON_SPOOL_FULL if excess_bytes > 0 else None

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

    def _try(self, act: Callable[[Spool], T]) -> T | None:
        """Do something with the spool; None where that fails, or there is none."""
        for _ in range(2):
            if self._spool is None:
                return None
            try:
                done = act(self._spool)
            except SpoolUnusableError as error:
                self._note(str(error))
                return None
            except SpoolCorruptError as error:
                self._replace(str(error))
            else:
                return done
        return None

    def _note(self, problem: str) -> None:
        """Say that the disk does not serve; the same again is no news."""
        if problem != self._problem:
            self._problem = problem
            log.error(
                "spool_unusable",
                extra={"path": str(self._path), "error": problem, "until_then": "kept in memory"},
            )

    def _open(self) -> None:
        """Open the spool as the last process left it, or go on without."""
        try:
            spool, lost = quarantine.open_checked(self._path)
        except SpoolUnusableError as error:
            self._note(str(error))
            return
        self._take_over(spool, lost, DroppedRanges(spool.dropped()))

    def _replace(self, problem: str) -> None:
        """Set a corrupt file aside and go on with what can be read of it."""
        broken, self._spool = self._spool, None
        if broken is not None:
            broken.close()
        kept = self._memory.page(after=0, limit=self._memory.stats().batches)
        in_memory = [(each.batch.epoch, each.batch.seq) for each in kept]
        try:
            spool, lost = quarantine.replace(self._path, problem, elsewhere=in_memory)
        except SpoolUnusableError as error:
            self._batches = self._bytes = 0
            self._settled.clear()
            self._note(str(error))
            return
        self._take_over(spool, lost, self._ranges)

    def _take_over(self, spool: Spool, lost: Sequence[Dropped], ranges: DroppedRanges) -> None:
        """Begin to use a spool that was just opened."""
        self._spool = spool
        self._settled.clear()
        self._ranges = ranges
        for each in lost:
            self._ranges.add(each)
        gone = self._drop_oldest_epochs(spool)
        with spool.transaction():
            spool.keep_dropped(self._ranges.all)
            spool.forget_finished_epochs()
        self._batches, self._bytes, last_place = spool.totals()
        self._dropped_samples += gone
        self._places.last = max(self._places.last, last_place)

    def _drop_oldest_epochs(self, spool: Spool) -> int:
        """Give up the oldest of too many epochs; return how many samples that were."""
        samples = 0
        for epoch in spool.epochs()[:-EPOCHS_MAX]:
            heads = spool.of_epoch(epoch.epoch)
            for head in heads:
                self._ranges.add(given_up(head, telemetry_pb2.DROP_REASON_SPOOL_FULL))
            with spool.transaction():
                spool.remove(head.place for head in heads)
            samples += sum(head.samples for head in heads)
        return samples
