"""One agent's stream, from Hello to the end.

Reading and answering are two tasks: a batch is read, decoded and submitted, and its ack is written
when the flush that stored it has committed, in whatever order that happens. A bad batch is answered
and never ends the stream, for it would be sent again for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from typing import TYPE_CHECKING

import grpc
import structlog
from google.protobuf.message import DecodeError

from collector_gateway import greeting, rows
from collector_gateway.clocks import SessionClock, to_datetime
from collector_gateway.credits import Holder
from collector_gateway.greeting import SEQ_MAX
from collector_gateway.lanes import Outcome, Submission, hour_of
from hostpulse.v1 import telemetry_pb2 as pb
from storage import ledger
from storage.lateness import ACCEPT_LATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from collector_gateway.credits import Credits
    from collector_gateway.ingest import Ingest
    from collector_gateway.metrics import Metrics
    from hostpulse.clock import Clock
    from storage import claims

    Context = grpc.aio.ServicerContext[bytes, bytes]

BATCH_MAX_SAMPLES = 1000
BATCH_MAX_BYTES = 256 * 1024
IN_FLIGHT_MAX = 256  # unanswered batches of one stream; then it is not read further
ANSWERS_MAX = 1024  # unread answers; an agent that lets them pile up is not there any more
DRAIN_GRACE_S = 3.0
SUPERSEDED = "another stream owns this server now"
NO_ROWS: Mapping[str, Sequence[tuple[Any, ...]]] = {}

log = structlog.get_logger()


class Session:
    """A stream that owns its server.

    Args:
        context: of the call; messages are bytes.
        hello: the first message.
        claimed: what the claim answered.
        token: the fencing token under which the server was claimed.
        ingest: where batches go.
        credits: leave to send backlog.
        metrics: of this process.
        clock: ours, to compare with the agent's.
        on_config_result: takes an agent's verdict on a config.
    """

    def __init__(
        self,
        context: Context,
        *,
        hello: pb.Hello,
        claimed: claims.Claimed,
        token: UUID,
        ingest: Ingest,
        credits: Credits,
        metrics: Metrics,
        clock: Clock,
        on_config_result: Callable[[Session, pb.ConfigResult], None],
    ) -> None:
        self.server_id = claimed.server_id
        self.server_name = hello.server_name
        self.token = token
        self.goodbye: str | None = None
        self.is_able = pb.CAPABILITY_CONFIG_PUSH in hello.capabilities
        # What the agent was told at Welcome; what it has by itself counts as 0 alone.
        unknown = -1 if hello.config_revision else 0
        self.config_revision = claimed.config.revision if claimed.config else unknown
        self._on_config_result = on_config_result
        self._context = context
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
        self._times = SessionClock(hello, clock.wall_ns(), claimed.clock_offset_ms)
        self._answers: deque[bytes] = deque()
        self._answered = asyncio.Event()
        self._in_flight = 0
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._end: tuple[grpc.StatusCode, str] | None = None

    def answer(self, response: pb.StreamResponse) -> None:
        """Queue a message to the agent."""
        if len(self._answers) >= ANSWERS_MAX:
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "answers are not read")
            return
        self._answers.append(response.SerializeToString())
        self._answered.set()

    def configure(self, config: pb.AgentConfig) -> None:
        """Tell the agent what it is to run."""
        self.config_revision = config.revision
        self.answer(pb.StreamResponse(config=config))

    def _grant(self, batches: int) -> None:
        """Let the agent send so much more of its backlog."""
        self.answer(pb.StreamResponse(backfill_credit=pb.BackfillCredit(batches=batches)))

    def end(self, code: grpc.StatusCode, detail: str) -> None:
        """End the stream from this side."""
        if self._end is None:
            self._end = (code, detail)
        self._ended.set()
        self._answered.set()

    def drain(self, reconnect_after_s: float) -> None:
        """Ask the agent to go elsewhere; what it sent is still stored and answered."""
        self.answer(
            pb.StreamResponse(
                drain=pb.Drain(reconnect_after_s=reconnect_after_s, detail="gateway stops")
            )
        )

    async def run(self) -> None:
        """Read and answer until the agent goes, or `end` is called."""
        self._credits.join(self._backlog)
        reader = asyncio.create_task(self._read(), name=f"read {self.server_name}")
        writer = asyncio.create_task(self._write(), name=f"write {self.server_name}")
        ender = asyncio.create_task(self._ended.wait(), name=f"end {self.server_name}")
        tasks = (reader, writer, ender)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reader in done:
                reader.result()
                await self._write_what_is_left(writer)
        finally:
            for task in tasks:
                task.cancel()
            self._credits.leave(self._backlog)
            await asyncio.wait(tasks)
        if self._end is not None:
            await self._context.abort(*self._end)

    async def _read(self) -> None:
        """Take messages until the agent has said its last."""
        while True:
            data = await self._context.read()
            if data is grpc.aio.EOF:
                return
            self._metrics.bytes_received.inc(len(data))
            try:
                request = pb.StreamRequest.FromString(data)
            except DecodeError:
                self.end(grpc.StatusCode.INVALID_ARGUMENT, "expected a StreamRequest")
                return
            match request.WhichOneof("message"):
                case "batch":
                    while self._in_flight >= IN_FLIGHT_MAX:
                        self._settled.clear()
                        await self._settled.wait()
                    await self._take(request.batch, data)
                case "dropped_range":
                    await self._take_dropped(request.dropped_range)
                case "heartbeat":
                    await self._submit(self._submission(settle=self._settle_nothing))
                case "goodbye":
                    name = pb.GoodbyeReason.Name(request.goodbye.reason)
                    self.goodbye = _word(name, "GOODBYE_REASON_")
                case "config_result":
                    self._on_config_result(self, request.config_result)
                case _:
                    pass  # a message of a newer agent

    async def _write(self) -> None:
        """Write answers as they come."""
        while True:
            while self._answers:
                await self._context.write(self._answers.popleft())
            self._answered.clear()
            if not self._answers:
                await self._answered.wait()

    async def _write_what_is_left(self, writer: asyncio.Task[None]) -> None:
        """Give batches that were read before the agent's end their verdicts, within a grace."""
        deadline = time.monotonic() + DRAIN_GRACE_S
        while (self._in_flight or self._answers) and not writer.done():
            self._settled.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    if self._in_flight:
                        await self._settled.wait()
                    else:
                        await asyncio.sleep(0.005)  # the writer is at it
            except TimeoutError:
                return

    async def _take(self, batch: pb.MetricBatch, data: bytes) -> None:
        """Decode a batch and submit its rows, or answer at once what is wrong with it."""
        self._metrics.batches_received.inc()
        is_backlog = batch.lane == pb.LANE_BACKFILL
        if is_backlog:
            self._credits.spent(self._backlog)
        elif batch.seq <= self._announced.get(batch.epoch, 0):
            self._credits.unneeded(self._backlog, 1)
        if batch.epoch not in self._epochs or not 1 <= batch.seq <= SEQ_MAX:
            self._reject(
                batch,
                pb.REJECT_REASON_UNKNOWN_EPOCH,
                f"epoch: expected one that Hello announced, and a seq of 1 to 2^63 - 2, "
                f"got {batch.epoch}, {batch.seq}",
            )
            return
        stamp = self._times.stamp(batch, self._clock.wall_ns())
        samples = rows.count_samples(batch)
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
        decoded = rows.decode(batch, stamp.time, self.server_id)
        if decoded.rejected:
            self._metrics.samples_rejected.inc(len(decoded.rejected))
            log.info(
                "samples_rejected",
                server=self.server_name,
                samples=len(decoded.rejected),
                first=decoded.rejected[0].detail,
            )
        ack = pb.BatchAck(epoch=batch.epoch, seq=batch.seq, rejected=decoded.rejected)
        await self._submit(
            self._submission(
                settle=self._settler(batch, ack),
                batch=self._id(batch),
                rows=decoded.rows,
                raw=data,
                hour=hour_of(stamp.time, now, is_backlog=is_backlog),
            )
        )

    async def _give_up(
        self, batch: pb.MetricBatch, at: datetime, reason: pb.RejectReason, detail: str
    ) -> None:
        """Refuse a batch for good: its number is taken and the gap recorded, then it is told."""
        ack = pb.BatchAck(epoch=batch.epoch, seq=batch.seq, reason=reason, detail=detail)
        gap = ledger.Gap(
            server_id=self.server_id,
            epoch=batch.epoch,
            first_seq=batch.seq,
            last_seq=batch.seq,
            from_time=at,
            to_time=at,
            reason=_word(pb.RejectReason.Name(reason), "REJECT_REASON_"),
            detail=detail,
        )
        await self._submit(
            self._submission(
                settle=self._settler(batch, ack),
                batch=self._id(batch),
                gap=gap,
            )
        )

    async def _take_dropped(self, dropped: pb.DroppedRange) -> None:
        """Record what the agent had to give up; there is no answer, it repeats itself."""
        first, last = dropped.seqs.first_seq, dropped.seqs.last_seq
        if dropped.epoch not in self._epochs or not 1 <= first <= last <= SEQ_MAX:
            log.warning("dropped_range_refused", server=self.server_name, first=first, last=last)
            return
        self._credits.unneeded(self._backlog, last - first + 1)
        gap = ledger.Gap(
            server_id=self.server_id,
            epoch=dropped.epoch,
            first_seq=first,
            last_seq=last,
            from_time=to_datetime(dropped.from_time_unix_ns),
            to_time=to_datetime(dropped.to_time_unix_ns),
            reason=_word(pb.DropReason.Name(dropped.reason), "DROP_REASON_"),
        )
        await self._submit(self._submission(settle=self._settle_nothing, dropped=gap))

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
        self.answer(pb.StreamResponse(ack=ack))
        if batch.lane == pb.LANE_BACKFILL:
            self._credits.settled(self._backlog)

    def _settler(self, batch: pb.MetricBatch, ack: pb.BatchAck) -> Callable[[Outcome, str], None]:
        """Return what takes the verdict on a batch."""
        is_backlog = batch.lane == pb.LANE_BACKFILL

        def settle(outcome: Outcome, why: str) -> None:
            self._settle(ack, outcome, why)
            if is_backlog:
                self._credits.settled(self._backlog)

        return settle

    def _id(self, batch: pb.MetricBatch) -> ledger.BatchId:
        """Return what makes this batch the same batch wherever it is sent."""
        return ledger.BatchId(server_id=self.server_id, epoch=batch.epoch, seq=batch.seq)

    def _submission(
        self,
        *,
        settle: Callable[[Outcome, str], None],
        batch: ledger.BatchId | None = None,
        rows: Mapping[str, Sequence[tuple[Any, ...]]] = NO_ROWS,
        raw: bytes = b"",
        gap: ledger.Gap | None = None,
        dropped: ledger.Gap | None = None,
        hour: int | None = None,
    ) -> Submission:
        """Make a submission of this session's server."""
        return Submission(
            server_id=self.server_id,
            session=self.token,
            touch=ledger.Touch(
                server_id=self.server_id,
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

    async def _submit(self, submission: Submission) -> None:
        """Hand over to the flusher; waits for room there."""
        self._in_flight += 1
        await self._ingest.submit(submission)

    def _settle_nothing(self, outcome: Outcome, _detail: str) -> None:
        """Take the verdict on something that is not answered."""
        self._in_flight -= 1
        self._settled.set()
        if outcome is Outcome.FENCED:
            self._end_as_fenced()

    def _settle(self, ack: pb.BatchAck, outcome: Outcome, detail: str) -> None:
        """Take the verdict on a batch and tell the agent."""
        self._in_flight -= 1
        self._settled.set()
        if outcome is Outcome.FENCED:
            self._end_as_fenced()
            return
        if outcome is Outcome.COMMITTED:
            ack.status = pb.BATCH_STATUS_COMMITTED
        else:
            ack.status = pb.BATCH_STATUS_REJECTED
            ack.reason = ack.reason or pb.REJECT_REASON_STORAGE
            ack.detail = ack.detail or detail
            self._metrics.batches_rejected.labels(reason=pb.RejectReason.Name(ack.reason)).inc()
            log.warning(
                "batch_rejected",
                server=self.server_name,
                epoch=ack.epoch,
                seq=ack.seq,
                detail=ack.detail,
            )
        self.answer(pb.StreamResponse(ack=ack))

    def _end_as_fenced(self) -> None:
        """End a stream whose server another stream has claimed."""
        if self._end is None:
            log.warning("stream_fenced", server=self.server_name, reason=SUPERSEDED)
        self.end(grpc.StatusCode.ABORTED, SUPERSEDED)


class Sessions:
    """The streams of this gateway, one a server."""

    def __init__(self) -> None:
        self._by_server: dict[int, Session] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_server)

    def live(self) -> list[Session]:
        """Return them all."""
        return list(self._by_server.values())

    def token_of(self, server_id: int) -> UUID | None:
        """Return the fencing token of the live stream of a server, if it is ours."""
        session = self._by_server.get(server_id)
        return session.token if session else None

    def add(self, session: Session) -> None:
        """Let a stream in; an older one of the same server ends."""
        older = self._by_server.get(session.server_id)
        self._by_server[session.server_id] = session
        self._empty.clear()
        if older is not None:
            older.end(grpc.StatusCode.ABORTED, SUPERSEDED)

    def remove(self, session: Session) -> None:
        """Forget a stream that ended, unless a newer one has its place."""
        if self._by_server.get(session.server_id) is session:
            del self._by_server[session.server_id]
        if not self._by_server:
            self._empty.set()

    async def drain(self, *, spread_s: float, grace_s: float) -> None:
        """Ask all agents to go elsewhere one by one, and wait for them within a grace."""
        for session in self._by_server.values():
            session.drain(random.uniform(0.0, spread_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._empty.wait()


def _word(name: str, prefix: str) -> str:
    """Turn the name of an enum value into the word that is stored."""
    return name.removeprefix(prefix).lower()
