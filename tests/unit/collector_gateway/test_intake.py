from __future__ import annotations

import asyncio
import contextlib
import uuid

from collector_gateway.credits import Credits
from collector_gateway.intake import Intake
from collector_gateway.lanes import Outcome
from collector_gateway.metrics import Metrics
from hostpulse.clock import ManualClock
from hostpulse.v1 import telemetry_pb2 as pb
from storage import claims

EPOCH = 7
POOL = 100


class Ingest:
    """A queue that has room for so many."""

    def __init__(self, room):
        self.room = room
        self.taken = []

    async def submit(self, submission):
        if len(self.taken) >= self.room:
            await asyncio.Event().wait()
        self.taken.append(submission)


class Stream:
    """The intake of an agent that has a backlog, and what it is answered."""

    def __init__(self, *, room):
        self.clock = ManualClock()
        self.credits = Credits(POOL)
        self.ingest = Ingest(room)
        self.answers = []
        hello = pb.Hello(
            server_name="db-01",
            boot_id=bytes(16),
            capabilities=[pb.CAPABILITY_BACKFILL],
            epochs=[pb.EpochState(epoch=EPOCH, last_seq=20)],
            time_unix_ns=self.clock.wall_ns(),
            monotonic_ns=self.clock.monotonic_ns(),
        )
        self.intake = Intake(
            hello,
            claims.Claimed(server_id=1, committed={EPOCH: ()}, clock_offset_ms=None),
            token=uuid.uuid4(),
            ingest=self.ingest,
            credits=self.credits,
            metrics=Metrics(),
            clock=self.clock,
            answer=self.answers.append,
            end=lambda _code, _detail: None,
        )
        self.intake.open()

    async def take(self, seq, *, epoch=EPOCH):
        batch = pb.MetricBatch(
            epoch=epoch,
            seq=seq,
            lane=pb.LANE_BACKFILL,
            boot_id=bytes(16),
            time_unix_ns=self.clock.wall_ns(),
            monotonic_ns=self.clock.monotonic_ns(),
            sent_monotonic_ns=self.clock.monotonic_ns(),
        )
        data = pb.StreamRequest(batch=batch).SerializeToString()
        await self.intake.take(batch, data, samples=1, weight=len(data))


async def test_a_stream_that_ends_while_the_queue_is_full_gives_its_credits_back():
    stream = Stream(room=2)
    await stream.take(1)
    await stream.take(2)
    waiting = asyncio.create_task(stream.take(3))
    await asyncio.sleep(0)

    waiting.cancel()
    stream.intake.close()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    for submission in stream.ingest.taken:
        submission.settle(Outcome.COMMITTED, "")

    assert stream.credits.free == POOL


async def test_a_batch_of_the_backlog_that_has_no_place_in_the_ledger_gives_its_credit_back():
    stream = Stream(room=2)

    await stream.take(1, epoch=EPOCH + 1)
    stream.intake.close()

    assert stream.answers[-1].ack.reason == pb.REJECT_REASON_UNKNOWN_EPOCH
    assert stream.credits.free == POOL
