"""What goes out next on one stream, and what its verdicts mean for the buffer. No I/O.

new batches, LIVE ──────┐  first                       ┌─▶ settled: the batch leaves the buffer
backlog, for a credit ──┼──▶ next_request() … verdict ─┤
DroppedRange ───────────┘  window of what is unacked   └─▶ proof that what was before arrived

New is what was taken within LIVE_AGE_S of the stream's start, and all that comes later. The rest is
the backlog: it goes in the BACKFILL lane, oldest first, as far as the gateway's credits allow. A
gateway that knows no lanes gets it as LIVE, within the window alone.
"""

from __future__ import annotations

import collections
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import envelope
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.batches import BufferedBatch
    from agent.buffer import Buffer
    from agent.counters import Counters
    from agent.dropped import Dropped
    from hostpulse.clock import Clock

WINDOW_BATCHES = 32  # written and not yet acked
BACKLOG_WINDOW_BATCHES = 24  # of them the backlog's at most, so that a new tick never waits for it
LIVE_AGE_S = 30.0  # a tick that a short break of the stream held up is still news
CREDITS_MAX = 100_000  # whatever a gateway says
MAX_CONFIG_RESULTS = 8  # answers that wait to be written; the oldest goes first
VERDICTS = (telemetry_pb2.BATCH_STATUS_COMMITTED, telemetry_pb2.BATCH_STATUS_REJECTED)
DETAIL_MAX = 300  # characters of a gateway's sentence that are logged

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unacked:
    """A batch on its way: when it was written, and as which write of the stream."""

    written_ns: int
    number: int


class Outgoing:
    """The sending side of one stream; a new stream starts with a new one.

    Args:
        buffer: What is to be sent; a batch stays there until its verdict.
        counters: Counts verdicts.
        clock: Says when a batch was sent.
        reported_reasons: Reasons of rejection that have been logged; lives longer than a stream.
        epochs: What Hello announced; batches of others wait for a stream that announces them.
    """

    def __init__(
        self,
        *,
        buffer: Buffer,
        counters: Counters,
        clock: Clock,
        reported_reasons: set[str],
        epochs: Collection[int],
    ) -> None:
        self._epochs = frozenset(epochs)
        self._buffer = buffer
        self._counters = counters
        self._clock = clock
        self._reported_reasons = reported_reasons
        fresh_ns = clock.monotonic_ns() - round(LIVE_AGE_S * NS_PER_S)
        self._live_place = self._backlog_end = buffer.live_after(fresh_ns)
        self._openings = buffer.openings
        self._credits: int | None = None
        self._backlog_place = 0
        self._unacked: dict[tuple[int, int], Unacked] = {}
        self._ranges: dict[Dropped, int] = {}
        self._results: collections.deque[telemetry_pb2.ConfigResult] = collections.deque(
            maxlen=MAX_CONFIG_RESULTS
        )
        self._writes = 0

    def use_credits(self) -> None:
        """Keep the backlog until the gateway gives credit for it."""
        self._credits = 0

    def credit(self, batches: int) -> None:
        """Take the gateway's leave to send so many more batches of the backlog."""
        if self._credits is not None:
            self._credits = min(CREDITS_MAX, self._credits + batches)

    @property
    def is_outdated(self) -> bool:
        """Whether the buffer may hold epochs that Hello could not announce."""
        return self._buffer.openings != self._openings

    @property
    def unacked(self) -> int:
        """How many batches wait for their verdict."""
        return len(self._unacked)

    def oldest_unacked_ns(self) -> int | None:
        """Return when the batch that waits longest was written; None where none waits."""
        first = next(iter(self._unacked.values()), None)
        return None if first is None else first.written_ns

    def answer_config(self, result: telemetry_pb2.ConfigResult) -> None:
        """Have the verdict on a pushed config written."""
        self._results.append(result)

    def next_request(self, *, with_batches: bool = True) -> bytes | None:
        """Return the next serialized StreamRequest, accounted as written; None for nothing now."""
        if self._results:
            return self._written(telemetry_pb2.StreamRequest(config_result=self._results.popleft()))
        for dropped in self._buffer.dropped:
            if dropped not in self._ranges and dropped.epoch in self._epochs:
                self._ranges[dropped] = self._writes
                return self._written(telemetry_pb2.StreamRequest(dropped_range=_message(dropped)))
        return self._next_batch() if with_batches else None

    def heartbeat(self) -> bytes:
        """Return a serialized Heartbeat."""
        beat = telemetry_pb2.Heartbeat(
            time_unix_ns=self._clock.wall_ns(), monotonic_ns=self._clock.monotonic_ns()
        )
        return self._written(telemetry_pb2.StreamRequest(heartbeat=beat))

    def verdict(self, ack: telemetry_pb2.BatchAck) -> None:
        """Settle a batch; an unknown batch or an unknown status is ignored."""
        if ack.status not in VERDICTS:
            return
        sent = self._unacked.pop((ack.epoch, ack.seq), None)
        if sent is None:
            return
        self._buffer.settle(ack.epoch, ack.seq)
        self._counters.sent_batches += 1
        self._note_rejections(ack)
        for dropped in [each for each, number in self._ranges.items() if number < sent.number]:
            # The gateway reads in order: it has acked what was written after this range.
            self._buffer.reported(dropped)
            del self._ranges[dropped]

    def _next_batch(self) -> bytes | None:
        if self.unacked >= WINDOW_BATCHES:
            return None
        if fresh := self._after(self._live_place):
            self._live_place = fresh.place
            return self._batch(fresh, telemetry_pb2.LANE_LIVE)
        if self.unacked >= BACKLOG_WINDOW_BATCHES or self._backlog_place >= self._backlog_end:
            return None
        if self._credits == 0:
            return None
        backlog = self._after(self._backlog_place)
        if backlog is None or backlog.place > self._backlog_end:
            self._backlog_place = self._backlog_end
            return None
        self._backlog_place = backlog.place
        if self._credits is None:
            return self._batch(backlog, telemetry_pb2.LANE_LIVE)
        self._credits -= 1
        return self._batch(backlog, telemetry_pb2.LANE_BACKFILL)

    def _after(self, place: int) -> BufferedBatch | None:
        """Return the next batch that this stream may carry, and does not carry already.

        A batch that went from memory to the spool has a new place.
        """
        while page := self._buffer.page(after=place, limit=1):
            batch, place = page[0].batch, page[0].place
            if batch.epoch in self._epochs and (batch.epoch, batch.seq) not in self._unacked:
                return page[0]
        return None

    def _batch(self, buffered: BufferedBatch, lane: telemetry_pb2.Lane) -> bytes:
        batch, now_ns = buffered.batch, self._clock.monotonic_ns()
        self._unacked[batch.epoch, batch.seq] = Unacked(written_ns=now_ns, number=self._writes)
        self._writes += 1
        return envelope.batch_request(batch.payload, lane=lane, sent_monotonic_ns=now_ns)

    def _written(self, request: telemetry_pb2.StreamRequest) -> bytes:
        self._writes += 1
        return request.SerializeToString()

    def _note_rejections(self, ack: telemetry_pb2.BatchAck) -> None:
        """Log each reason of a refusal once, with its first detail."""
        if ack.status == telemetry_pb2.BATCH_STATUS_REJECTED:
            self._log_once("batch_rejected", ack.reason, ack.detail)
        for sample in ack.rejected:
            self._log_once("sample_rejected", sample.reason, sample.detail)

    def _log_once(self, event: str, reason: telemetry_pb2.RejectReason, detail: str) -> None:
        known = reason in telemetry_pb2.RejectReason.values()
        name = telemetry_pb2.RejectReason.Name(reason) if known else "of a newer gateway"
        if name not in self._reported_reasons:
            self._reported_reasons.add(name)
            log.error(event, extra={"reason": name, "detail": detail[:DETAIL_MAX]})


def _message(dropped: Dropped) -> telemetry_pb2.DroppedRange:
    return telemetry_pb2.DroppedRange(
        epoch=dropped.epoch,
        seqs=telemetry_pb2.SeqRange(first_seq=dropped.first_seq, last_seq=dropped.last_seq),
        from_time_unix_ns=dropped.from_time_unix_ns,
        to_time_unix_ns=dropped.to_time_unix_ns,
        reason=dropped.reason,
    )
