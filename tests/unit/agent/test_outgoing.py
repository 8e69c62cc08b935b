from __future__ import annotations

import logging

import pytest

from agent.batches import NumberedBatch
from agent.buffer import BufferBounds, MemoryBuffer
from agent.counters import Counters
from agent.outgoing import (
    BACKLOG_WINDOW_BATCHES,
    LIVE_AGE_S,
    MAX_CONFIG_RESULTS,
    WINDOW_BATCHES,
    Outgoing,
)
from hostpulse.clock import NS_PER_S, ManualClock
from hostpulse.v1 import telemetry_pb2 as pb

EPOCH = 7


class Rig:
    def __init__(self, *, backlog=0, max_bytes=2**20):
        self.clock = ManualClock()
        self.buffer = MemoryBuffer(BufferBounds(max_bytes=max_bytes))
        self.counters = Counters()
        self.reasons = set()
        self._seq = 0
        self.collect(backlog)
        self.outgoing = self.stream()

    def stream(self):
        return Outgoing(
            buffer=self.buffer,
            counters=self.counters,
            clock=self.clock,
            reported_reasons=self.reasons,
            epochs=[EPOCH],
        )

    def collect(self, count=1, *, epoch=EPOCH, age_s=1000.0):
        for _ in range(count):
            self._seq += 1
            stored = pb.MetricBatch(epoch=epoch, seq=self._seq)
            self.buffer.put(
                NumberedBatch(
                    epoch=epoch,
                    seq=self._seq,
                    time_unix_ns=self._seq,
                    monotonic_ns=self.clock.monotonic_ns() - round(age_s * NS_PER_S),
                    samples=1,
                    payload=stored.SerializeToString(),
                )
            )

    def written(self, **options):
        """Everything that goes out before something has to come in."""
        requests = []
        while request := self.outgoing.next_request(**options):
            requests.append(pb.StreamRequest.FromString(request))
        return requests

    def ack(self, seq, status=pb.BATCH_STATUS_COMMITTED, **more):
        self.outgoing.verdict(pb.BatchAck(epoch=EPOCH, seq=seq, status=status, **more))


def seqs(requests):
    return [each.batch.seq for each in requests if each.HasField("batch")]


def test_the_backlog_is_written_oldest_first_within_its_window():
    rig = Rig(backlog=100)

    assert seqs(rig.written()) == list(range(1, BACKLOG_WINDOW_BATCHES + 1))

    rig.ack(1)
    assert seqs(rig.written()) == [BACKLOG_WINDOW_BATCHES + 1]


def test_new_batches_go_first_and_have_room_that_the_backlog_may_not_take():
    rig = Rig(backlog=100)
    rig.written()

    rig.collect(WINDOW_BATCHES)

    room = WINDOW_BATCHES - BACKLOG_WINDOW_BATCHES
    assert seqs(rig.written()) == list(range(101, 101 + room))
    assert rig.outgoing.unacked == WINDOW_BATCHES


def test_everything_is_written_once_in_the_end():
    rig = Rig(backlog=50)
    seen = []

    while written := seqs(rig.written()):
        seen += written
        if len(seen) < 60:
            rig.collect()
        for seq in written:
            rig.ack(seq)

    assert sorted(seen) == list(range(1, rig._seq + 1))
    assert rig.buffer.stats().batches == 0


def test_a_new_stream_writes_again_what_has_no_verdict():
    rig = Rig(backlog=3)
    rig.written()
    rig.ack(2)

    rig.outgoing = rig.stream()

    assert seqs(rig.written()) == [1, 3]


def test_the_time_of_sending_is_that_of_each_write():
    rig = Rig(backlog=1)
    first = rig.written()[0].batch
    rig.clock.advance(5)
    rig.outgoing = rig.stream()
    second = rig.written()[0].batch

    assert second.sent_monotonic_ns - first.sent_monotonic_ns == 5_000_000_000
    assert first.lane == second.lane == pb.LANE_LIVE


def lanes(requests):
    return [(each.batch.seq, each.batch.lane) for each in requests if each.HasField("batch")]


def test_what_a_short_break_held_up_is_still_news_and_goes_before_the_backlog():
    rig = Rig(backlog=3)
    rig.collect(2, age_s=LIVE_AGE_S - 1)
    rig.outgoing = rig.stream()

    assert seqs(rig.written()) == [4, 5, 1, 2, 3]


def test_the_backlog_waits_for_credits_and_what_is_new_does_not():
    rig = Rig(backlog=5)
    rig.outgoing.use_credits()
    rig.collect()

    assert lanes(rig.written()) == [(6, pb.LANE_LIVE)]

    rig.outgoing.credit(2)
    rig.collect()
    assert lanes(rig.written()) == [
        (7, pb.LANE_LIVE),
        (1, pb.LANE_BACKFILL),
        (2, pb.LANE_BACKFILL),
    ]


def test_credits_of_a_gateway_that_said_nothing_of_lanes_are_ignored():
    rig = Rig(backlog=2)
    rig.outgoing.credit(1)

    assert lanes(rig.written()) == [(1, pb.LANE_LIVE), (2, pb.LANE_LIVE)]


def test_batches_of_an_epoch_that_hello_did_not_announce_wait_for_the_next_stream():
    rig = Rig(backlog=2)
    rig.collect(2, epoch=EPOCH + 1)
    rig.collect(1)

    assert seqs(rig.written()) == [3 + 2, 1, 2]
    assert rig.buffer.stats().batches == 5


def test_a_batch_that_gets_a_new_place_on_its_way_is_not_written_twice():
    rig = Rig()
    rig.collect(2, age_s=0)
    assert seqs(rig.written()) == [1, 2]
    (moved,) = [each.batch for each in rig.buffer.page(after=0, limit=1)]
    rig.buffer.settle(EPOCH, moved.seq)
    rig.buffer.put(moved)
    rig.collect(1, age_s=0)

    assert seqs(rig.written()) == [3]


def test_no_batches_are_written_while_the_gateway_drains():
    rig = Rig(backlog=3)

    assert rig.written(with_batches=False) == []


def test_the_longest_wait_is_known():
    rig = Rig(backlog=1)
    assert rig.outgoing.oldest_unacked_ns() is None

    rig.written()
    begun_ns = rig.clock.monotonic_ns()
    rig.clock.advance(9)

    assert rig.outgoing.oldest_unacked_ns() == begun_ns


def test_a_range_is_reported_once_a_stream_and_forgotten_after_a_later_ack():
    rig = Rig(backlog=3, max_bytes=900)
    assert rig.buffer.dropped

    kinds = [each.WhichOneof("message") for each in rig.written()]
    assert kinds == ["dropped_range", "batch", "batch"]
    assert rig.buffer.dropped

    rig.ack(3)
    assert rig.buffer.dropped == ()


def test_an_ack_of_an_earlier_batch_proves_nothing_about_a_range():
    rig = Rig(backlog=1, max_bytes=900)
    rig.written()
    rig.collect(2)
    assert [each.WhichOneof("message") for each in rig.written()] == [
        "dropped_range",
        "batch",
        "batch",
    ]

    rig.ack(1)

    assert rig.buffer.dropped


def test_answers_to_configs_are_bounded():
    rig = Rig()
    for revision in range(1, 100):
        rig.outgoing.answer_config(pb.ConfigResult(revision=revision))

    answers = [each.config_result.revision for each in rig.written()]

    assert answers == list(range(100 - MAX_CONFIG_RESULTS, 100))


@pytest.mark.parametrize(
    ("rejected", "expected"),
    [
        pytest.param(pb.REJECT_REASON_TOO_OLD, "REJECT_REASON_TOO_OLD", id="known"),
        pytest.param(77, "of a newer gateway", id="unknown"),
    ],
)
def test_each_reason_of_rejection_is_logged_once(caplog, rejected, expected):
    caplog.set_level(logging.ERROR)
    rig = Rig(backlog=3)
    rig.written()

    for seq in (1, 2, 3):
        rig.ack(seq, pb.BATCH_STATUS_REJECTED, reason=rejected, detail="7 days")

    assert [(each.reason, each.detail) for each in caplog.records] == [(expected, "7 days")]
    assert rig.counters.sent_batches == 3


def test_a_rejected_sample_does_not_reject_its_batch(caplog):
    rig = Rig(backlog=1)
    rig.written()
    bad = pb.RejectedSample(index=3, reason=pb.REJECT_REASON_INVALID, detail="load1: NaN")

    rig.ack(1, rejected=[bad])

    assert "sample_rejected" in caplog.messages
    assert "batch_rejected" not in caplog.messages
    assert rig.counters.sent_batches == 1
