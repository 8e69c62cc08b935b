from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.batches import NumberedBatch
from agent.buffer import ENTRY_BYTES, BufferBounds, MemoryBuffer
from agent.dropped import MAX_DROPPED_RANGES
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

EPOCH = 7
COST = 100 + ENTRY_BYTES


def batch(seq, *, epoch=EPOCH, at_s=0.0, samples=3):
    return NumberedBatch(
        epoch=epoch,
        seq=seq,
        time_unix_ns=1_000 + seq,
        monotonic_ns=round(at_s * NS_PER_S),
        samples=samples,
        payload=bytes(100),
    )


def filled(count, **bounds):
    buffer = MemoryBuffer(BufferBounds(**bounds))
    for seq in range(1, count + 1):
        buffer.put(batch(seq))
    return buffer


def seqs(buffer, *, after=0):
    return [each.batch.seq for each in buffer.page(after=after, limit=1_000)]


def test_a_page_is_oldest_first_and_goes_on_from_a_place():
    buffer = filled(5)

    page = buffer.page(after=0, limit=2)

    assert [each.batch.seq for each in page] == [1, 2]
    assert seqs(buffer, after=page[-1].place) == [3, 4, 5]
    assert seqs(buffer, after=page[-1].place + 3) == []


def test_a_batch_leaves_on_its_verdict_and_only_once():
    buffer = filled(2)

    assert buffer.settle(EPOCH, 1)
    assert not buffer.settle(EPOCH, 1)
    assert not buffer.settle(99, 2)
    assert (seqs(buffer), buffer.stats().bytes) == ([2], COST)


def test_committed_ranges_of_an_epoch_are_forgotten():
    buffer = filled(6)
    buffer.put(batch(2, epoch=8))

    assert buffer.forget(EPOCH, [(1, 2), (5, 90)]) == 4

    assert [(each.batch.epoch, each.batch.seq) for each in buffer.page(after=0, limit=9)] == [
        (EPOCH, 3),
        (EPOCH, 4),
        (8, 2),
    ]


def test_the_oldest_are_dropped_when_the_buffer_is_full_and_remembered_as_one_range():
    buffer = filled(10, max_bytes=4 * COST)

    (dropped,) = buffer.dropped
    assert seqs(buffer) == [7, 8, 9, 10]
    assert (dropped.epoch, dropped.first_seq, dropped.last_seq) == (EPOCH, 1, 6)
    assert (dropped.from_time_unix_ns, dropped.to_time_unix_ns) == (1_001, 1_006)
    assert dropped.reason == pb.DROP_REASON_MEMORY_BUFFER_FULL
    assert buffer.stats().dropped_samples == 18


def test_what_is_too_old_is_dropped_when_something_new_comes():
    buffer = MemoryBuffer(BufferBounds(max_age_s=60))
    buffer.put(batch(1, at_s=0))
    buffer.put(batch(2, at_s=30))

    buffer.put(batch(3, at_s=61))

    assert seqs(buffer) == [2, 3]
    assert [each.reason for each in buffer.dropped] == [pb.DROP_REASON_TOO_OLD]


def test_ranges_do_not_cover_what_was_committed_in_between():
    buffer = filled(4, max_bytes=4 * COST)
    buffer.settle(EPOCH, 2)
    for seq in range(5, 8):
        buffer.put(batch(seq))

    assert [(each.first_seq, each.last_seq) for each in buffer.dropped] == [(1, 1), (3, 3)]


def test_ranges_of_different_epochs_stay_apart():
    buffer = filled(1, max_bytes=COST)
    buffer.put(batch(2, epoch=8))
    buffer.put(batch(3, epoch=8))

    assert [(each.epoch, each.first_seq) for each in buffer.dropped] == [(EPOCH, 1), (8, 2)]


def test_the_list_of_ranges_is_bounded():
    buffer = MemoryBuffer(BufferBounds(max_bytes=COST))
    for seq in range(1, 4 * MAX_DROPPED_RANGES, 2):
        buffer.put(batch(seq))

    assert len(buffer.dropped) == MAX_DROPPED_RANGES
    assert buffer.dropped[-1].last_seq == 4 * MAX_DROPPED_RANGES - 3


def test_a_reported_range_is_forgotten_unless_it_has_grown():
    buffer = filled(2, max_bytes=COST)
    (reported,) = buffer.dropped
    buffer.put(batch(3))

    buffer.reported(reported)
    assert len(buffer.dropped) == 1

    buffer.reported(buffer.dropped[0])
    assert buffer.dropped == ()


def test_a_batch_bigger_than_the_buffer_is_itself_dropped():
    buffer = filled(1, max_bytes=10)

    assert (buffer.stats().batches, buffer.stats().bytes) == (0, 0)
    assert buffer.stats().dropped_samples == 3


class Accounted(RuleBasedStateMachine):
    """Every batch that was put is kept, settled, or in exactly one dropped range."""

    def __init__(self):
        super().__init__()
        self.buffer = MemoryBuffer(BufferBounds(max_bytes=5 * COST, max_age_s=20))
        self.put_seqs, self.settled, self.now_s = 0, set(), 0.0

    @rule(wait_s=st.sampled_from([0.0, 1.0, 7.0, 30.0]))
    def put(self, wait_s):
        self.put_seqs += 1
        self.now_s += wait_s
        self.buffer.put(batch(self.put_seqs, at_s=self.now_s))

    @rule(data=st.data())
    def settle(self, data):
        if kept := seqs(self.buffer):
            seq = data.draw(st.sampled_from(kept))
            assert self.buffer.settle(EPOCH, seq)
            self.settled.add(seq)

    @invariant()
    def nothing_is_lost_unaccounted(self):
        dropped = [
            seq for each in self.buffer.dropped for seq in range(each.first_seq, each.last_seq + 1)
        ]
        everything = sorted([*seqs(self.buffer), *self.settled, *dropped])
        assert everything == list(range(1, self.put_seqs + 1))

    @invariant()
    def the_bounds_hold(self):
        stats = self.buffer.stats()
        assert stats.bytes == stats.batches * COST <= 5 * COST


Accounted.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestAccounted = Accounted.TestCase


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), max_size=5))
def test_forget_agrees_with_settling_one_by_one(spans):
    ranges = [(first, first + more) for first, more in spans]
    buffer = filled(30)

    buffer.forget(EPOCH, ranges)

    wanted = [n for n in range(1, 31) if not any(low <= n <= high for low, high in ranges)]
    assert seqs(buffer) == wanted


@pytest.mark.parametrize("count", [20_000])
def test_draining_a_big_backlog_in_order_stays_cheap(count):
    buffer, place, steps = filled(count), 0, 0
    while page := buffer.page(after=place, limit=1):
        place = page[0].place
        buffer.settle(EPOCH, page[0].batch.seq)
        steps += 1

    assert steps == count
