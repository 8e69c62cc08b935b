"""What one stream brings, from its arrival to its verdict.

A batch is checked and submitted as it came; its rows are made when it is flushed, and its ack is
written when that flush has committed, in whatever order that happens. A bad batch is answered and
never ends the stream, for it would be sent again for ever.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import grpc
import structlog

from collector_gateway import greeting, rows
from collector_gateway.clocks import SessionClock, to_datetime
from collector_gateway.credits import Holder
from collector_gateway.greeting import SEQ_MAX
from collector_gateway.lanes import Outcome, Submission, hour_of
from collector_gateway.words import to_word
from hostpulse.v1 import telemetry_pb2 as pb
from storage import ledger
from storage.lateness import ACCEPT_LATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from collector_gateway.credits import Credits
    from collector_gateway.ingest import Ingest
    from collector_gateway.metrics import Metrics
    from collector_gateway.services import Rows
    from hostpulse.clock import Clock
    from storage import claims

BATCH_MAX_SAMPLES = 1000
BATCH_MAX_BYTES = 256 * 1024
IN_FLIGHT_MAX = 256  # unanswered batches of one stream; then it is not read further
IN_FLIGHT_MAX_BYTES = 128 * 1024  # the same by weight: what one server has in a flush of everybody
SUPERSEDED = "another stream owns this server now"

log = structlog.get_logger()


class Intake:
    """Takes what the stream of a server brings and gives each batch its verdict.

    Args:
        hello: the first message.
        claimed: what the claim answered.
        token: the fencing token under which the server was claimed.
        ingest: where batches go.
        credits: leave to send backlog.
        metrics: of this process.
        clock: ours, to compare with the agent's.
        answer: queues a message to the agent.
        end: ends the stream.
    """

    def __init__(
        self,
        hello: pb.Hello,
        claimed: claims.Claimed,
        *,
        token: UUID,
        ingest: Ingest,
        credits: Credits,
        metrics: Metrics,
        clock: Clock,
        answer: Callable[[pb.StreamResponse], None],
        end: Callable[[grpc.StatusCode, str], None],
    ) -> None:
        self._server_id = claimed.server_id
        self._server_name = hello.server_name
        self._token = token
        self._epochs = frozenset(claimed.committed)
        self._announced = {e.epoch: e.last_seq for e in hello.epochs}
        self._ingest = ingest
        self._credits = credits
        knows_lanes = pb.CAPABILITY_BACKFILL in hello.capabilities
        self._backlog = Holder(
            self._grant, greeting.count_backlog(hello, claimed) if knows_lanes else 0
        )
        self._metrics = metrics
        self._clock = clock
        self._times = SessionClock(hello, clock, claimed.clock_offset_ms, claimed.offsets_ms)
        self._answer = answer
        self._end = end
        self._fenced = False
        self._settled = asyncio.Event()
        self._ranges_in_flight = 0
        self._in_flight_bytes = 0
        self.in_flight = 0

    def open(self) -> None:
        """Let the agent send its backlog, as far as there is room."""
        self._credits.join(self._backlog)

    def close(self) -> None:
        """Give back what leave to send backlog is left."""
        self._credits.leave(self._backlog)

    def _grant(self, batches: int) -> None:
        """Let the agent send so much more of its backlog."""
        self._answer(pb.StreamResponse(backfill_credit=pb.BackfillCredit(batches=batches)))

    async def one_settled(self) -> None:
        """Wait until something gets its verdict."""
        self._settled.clear()
        await self._settled.wait()

    async def take(self, batch: pb.MetricBatch, data: bytes, *, samples: int, weight: int) -> None:
        """Submit a batch, or answer at once what is wrong with it as a whole.

        Waits while too much of this stream has no verdict yet, or the queue is full.

        Args:
            batch: what came.
            data: the message that it came in.
            samples: how many it holds.
            weight: as how many bytes it counts.
        """
        # A verdict tells the agent that the ranges it reported before are on record.
        while self._is_full(weight) or self._ranges_in_flight:
            await self.one_settled()
        self._metrics.batches_received.inc()
        is_backlog = batch.lane == pb.LANE_BACKFILL
        if not is_backlog and batch.seq <= self._announced.get(batch.epoch, 0):
            self._credits.unneeded(self._backlog, 1)
        if batch.epoch not in self._epochs or not 1 <= batch.seq <= SEQ_MAX:
            self._reject(
                batch,
                pb.REJECT_REASON_UNKNOWN_EPOCH,
                f"epoch: expected one that Hello announced, and a seq of 1 to 2^63 - 2, "
                f"got {batch.epoch}, {batch.seq}",
            )
            return
        stamp = self._times.stamp(batch)
        if samples > BATCH_MAX_SAMPLES or len(data) > BATCH_MAX_BYTES:
            await self._give_up(
                batch,
                stamp.time,
                pb.REJECT_REASON_OVER_LIMIT,
                f"expected at most {BATCH_MAX_SAMPLES} samples and {BATCH_MAX_BYTES} bytes, "
                f"got {samples} and {len(data)}",
            )
            return
        now = to_datetime(self._clock.wall_ns())
        oldest = now - ACCEPT_LATE
        if stamp.time < oldest:
            await self._give_up(
                batch,
                stamp.time,
                pb.REJECT_REASON_TOO_OLD,
                f"time: expected {oldest:%Y-%m-%dT%H:%M:%SZ} or later, "
                f"got {stamp.time:%Y-%m-%dT%H:%M:%SZ}",
            )
            return
        ack = pb.BatchAck(epoch=batch.epoch, seq=batch.seq)
        self._in_flight_bytes += weight
        await self._submit(
            self._submission(
                settle=self._settler(batch, ack, weight),
                batch=self._id(batch),
                taken=stamp.time,
                rows=partial(self._decode, data, stamp.time, ack),
                raw=data,
                hour=hour_of(stamp.time, now, is_backlog=is_backlog),
            ),
            is_backlog=is_backlog,
        )

    def _decode(self, data: bytes, taken: datetime, ack: pb.BatchAck) -> Rows:
        """Make the rows of a batch, and name in its ack what must stay out of them."""
        decoded = rows.decode(pb.StreamRequest.FromString(data).batch, taken, self._server_id)
        if decoded.rejected:
            del ack.rejected[:]  # another try found the same
            ack.rejected.extend(decoded.rejected)
        return decoded.rows

    async def _give_up(
        self, batch: pb.MetricBatch, at: datetime, reason: pb.RejectReason, detail: str
    ) -> None:
        """Refuse a batch for good: its number is taken and the gap recorded, then it is told."""
        ack = pb.BatchAck(epoch=batch.epoch, seq=batch.seq, reason=reason, detail=detail)
        gap = ledger.Gap(
            server_id=self._server_id,
            epoch=batch.epoch,
            first_seq=batch.seq,
            last_seq=batch.seq,
            from_time=at,
            to_time=at,
            reason=to_word(pb.RejectReason, reason, "REJECT_REASON_"),
            detail=detail,
        )
        await self._submit(
            self._submission(
                settle=self._settler(batch, ack),
                batch=self._id(batch),
                taken=at,
                gap=gap,
            ),
            is_backlog=batch.lane == pb.LANE_BACKFILL,
        )

    async def take_heartbeat(self) -> None:
        """Note that the server was heard from."""
        await self._submit(self._submission(settle=self._settle_nothing))

    async def take_dropped(self, dropped: pb.DroppedRange) -> None:
        """Record what the agent had to give up; there is no answer, it repeats itself."""
        first, last = dropped.seqs.first_seq, dropped.seqs.last_seq
        if dropped.epoch not in self._epochs or not 1 <= first <= last <= SEQ_MAX:
            log.warning("dropped_range_refused", server=self._server_name, first=first, last=last)
            return
        self._credits.unneeded(self._backlog, last - first + 1)
        gap = ledger.Gap(
            server_id=self._server_id,
            epoch=dropped.epoch,
            first_seq=first,
            last_seq=last,
            from_time=to_datetime(dropped.from_time_unix_ns),
            to_time=to_datetime(dropped.to_time_unix_ns),
            reason=to_word(pb.DropReason, dropped.reason, "DROP_REASON_"),
        )
        self._ranges_in_flight += 1
        await self._submit(self._submission(settle=self._settle_range, dropped=gap))

    def _reject(self, batch: pb.MetricBatch, reason: pb.RejectReason, detail: str) -> None:
        """Refuse a batch that has no place in the ledger."""
        self._metrics.batches_rejected.labels(reason=pb.RejectReason.Name(reason)).inc()
        ack = pb.BatchAck(
            epoch=batch.epoch,
            seq=batch.seq,
            status=pb.BATCH_STATUS_REJECTED,
            reason=reason,
            detail=detail,
        )
        self._answer(pb.StreamResponse(ack=ack))
        if batch.lane == pb.LANE_BACKFILL:
            self._credits.spent(self._backlog)
            self._credits.settled(self._backlog)

    def _is_full(self, weight: int) -> bool:
        """Return whether a batch of this weight has to wait; one alone never does."""
        room = IN_FLIGHT_MAX_BYTES - self._in_flight_bytes
        return self.in_flight >= IN_FLIGHT_MAX or (weight > room < IN_FLIGHT_MAX_BYTES)

    def _settler(
        self, batch: pb.MetricBatch, ack: pb.BatchAck, weight: int = 0
    ) -> Callable[[Outcome, str], None]:
        """Return what takes the verdict on a batch."""
        is_backlog = batch.lane == pb.LANE_BACKFILL

        def settle(outcome: Outcome, why: str) -> None:
            self._in_flight_bytes -= weight
            self._settle(ack, outcome, why)
            if is_backlog:
                self._credits.settled(self._backlog)

        return settle

    def _id(self, batch: pb.MetricBatch) -> ledger.BatchId:
        """Return what makes this batch the same batch wherever it is sent."""
        return ledger.BatchId(server_id=self._server_id, epoch=batch.epoch, seq=batch.seq)

    def _submission(
        self,
        *,
        settle: Callable[[Outcome, str], None],
        batch: ledger.BatchId | None = None,
        taken: datetime | None = None,
        rows: Callable[[], Rows] = dict,
        raw: bytes = b"",
        gap: ledger.Gap | None = None,
        dropped: ledger.Gap | None = None,
        hour: int | None = None,
    ) -> Submission:
        """Make a submission of this session's server."""
        return Submission(
            server_id=self._server_id,
            taken=taken,
            session=self._token,
            touch=ledger.Touch(
                server_id=self._server_id,
                session=self._token,
                clock_offset_ms=self._times.offset_ms,
                clock_is_wrong=self._times.is_wrong,
            ),
            settle=settle,
            batch=batch,
            rows=rows,
            raw=raw,
            gap=gap,
            dropped=dropped,
            hour=hour,
        )

    async def _submit(self, submission: Submission, *, is_backlog: bool = False) -> None:
        """Hand over to the flusher; waits for room there."""
        self.in_flight += 1
        await self._ingest.submit(submission)
        if is_backlog:  # only now: a stream that ends while it waits gets no verdict
            self._credits.spent(self._backlog)

    def _settle_nothing(self, _outcome: Outcome, _detail: str) -> None:
        """Take the verdict on something that is not answered."""
        self.in_flight -= 1
        self._settled.set()

    def _settle_range(self, outcome: Outcome, detail: str) -> None:
        """Take the verdict on a range that the agent gave up."""
        self._ranges_in_flight -= 1
        self._settle_nothing(outcome, detail)

    def _settle(self, ack: pb.BatchAck, outcome: Outcome, detail: str) -> None:
        """Take the verdict on a batch and tell the agent."""
        self.in_flight -= 1
        self._settled.set()
        if outcome is Outcome.FENCED:
            self._end_as_fenced()
            return
        if outcome is Outcome.COMMITTED:
            ack.status = pb.BATCH_STATUS_COMMITTED
            if ack.rejected:
                self._metrics.samples_rejected.inc(len(ack.rejected))
                log.info(
                    "samples_rejected",
                    server=self._server_name,
                    samples=len(ack.rejected),
                    first=ack.rejected[0].detail,
                )
        else:
            ack.status = pb.BATCH_STATUS_REJECTED
            ack.reason = ack.reason or pb.REJECT_REASON_STORAGE
            ack.detail = ack.detail or detail
            self._metrics.batches_rejected.labels(reason=pb.RejectReason.Name(ack.reason)).inc()
            log.warning(
                "batch_rejected",
                server=self._server_name,
                epoch=ack.epoch,
                seq=ack.seq,
                detail=ack.detail,
            )
        self._answer(pb.StreamResponse(ack=ack))

    def _end_as_fenced(self) -> None:
        """End a stream whose server another stream has claimed."""
        if not self._fenced:
            log.warning("stream_fenced", server=self._server_name, reason=SUPERSEDED)
        self._fenced = True
        self._end(grpc.StatusCode.ABORTED, SUPERSEDED)
