"""Room in a spool: what has to go for a new batch, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.buffer import NS_PER_S, BufferBounds, given_up
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from agent.batches import NumberedBatch
    from agent.dropped import DroppedRanges
    from agent.spool import Spool
    from agent.spool_rows import Head

EPOCHS_MAX = 500  # of former processes; a gateway lets a Hello announce 1 000


class SpoolRoom:
    """Keeps a spool within its bounds: the oldest goes first.

    Args:
        bounds: How much is kept for how long.
        boot_id: Of this boot.
    """

    def __init__(self, bounds: BufferBounds, *, boot_id: bytes) -> None:
        self._max_bytes = bounds.max_bytes
        self._max_age_ns = round(bounds.max_age_s * NS_PER_S)
        self._boot_id = boot_id

    def make(
        self, spool: Spool, batch: NumberedBatch, *, used_bytes: int, ranges: DroppedRanges
    ) -> list[Head]:
        """Remove what is too old, then the oldest of what is too much; in a transaction.

        Args:
            spool: Where from.
            batch: The new one; its times are now.
            used_bytes: What everything takes, with the new one.
            ranges: Where to note what goes; it is returned, too.
        """
        gone: list[Head] = []
        excess_bytes = used_bytes - self._max_bytes
        while oldest := spool.oldest():
            (head,) = oldest
            reason = self._reason(head, batch, excess_bytes)
            if reason is None:
                break
            gone.append(head)
            excess_bytes -= head.cost_bytes
            spool.remove([head.place])
            ranges.add(given_up(head, reason))
        return gone

    def _reason(
        self, head: Head, batch: NumberedBatch, excess_bytes: int
    ) -> telemetry_pb2.DropReason | None:
        """Say why a batch has to go; None where it may stay."""
        # The monotonic clock of another boot says nothing, and the wall clock may have stepped.
        same_boot = head.boot_id == self._boot_id
        taken_ns = head.monotonic_ns if same_boot else head.time_unix_ns
        now_ns = batch.monotonic_ns if same_boot else batch.time_unix_ns
        if taken_ns < now_ns - self._max_age_ns:
            return telemetry_pb2.DROP_REASON_TOO_OLD
        return telemetry_pb2.DROP_REASON_SPOOL_FULL if excess_bytes > 0 else None


def drop_oldest_epochs(spool: Spool, ranges: DroppedRanges) -> int:
    """Give up the oldest of too many epochs; in a transaction. Return the number of samples."""
    samples = 0
    for epoch in spool.epochs()[:-EPOCHS_MAX]:
        heads = spool.of_epoch(epoch.epoch)
        for head in heads:
            ranges.add(given_up(head, telemetry_pb2.DROP_REASON_SPOOL_FULL))
        spool.remove(head.place for head in heads)
        samples += sum(head.samples for head in heads)
    return samples
