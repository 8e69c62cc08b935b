from __future__ import annotations

import itertools

import pytest

from agent.batches import NumberedBatch
from agent.buffer import BufferBounds, MemoryBuffer
from agent.counters import Counters
from agent.health import ClockOffset, Health
from hostpulse.clock import NS_PER_S, ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def health_of(clock, *, buffer=None, counters=None, cpu_time_s=lambda: 0.0):
    return Health(
        clock=clock,
        buffer=buffer or MemoryBuffer(),
        counters=counters or Counters(),
        offset=ClockOffset(clock),
        cpu_time_s=cpu_time_s,
    )


def test_counts_are_those_since_the_sample_before(clock):
    counters = Counters()
    health = health_of(clock, counters=counters)

    counters.sent_batches, counters.failed_sends = 3, 2
    first = health.sample(stuck=1)
    counters.sent_batches += 4
    second = health.sample(stuck=0)

    assert (first.sent_batches, first.failed_sends, first.stuck_collectors) == (3, 2, 1)
    assert (second.sent_batches, second.failed_sends, second.stuck_collectors) == (4, 0, 0)


def test_it_says_how_many_batches_have_no_disk_to_be_on(clock):
    buffer = MemoryBuffer()
    buffer.put(
        NumberedBatch(epoch=1, seq=1, time_unix_ns=1, monotonic_ns=1, samples=1, payload=b"x")
    )

    sample = health_of(clock, buffer=buffer).sample(stuck=0)

    assert (sample.spool_batches, sample.unspooled_batches) == (1, 1)


def test_cpu_is_the_share_of_one_core_since_the_sample_before(clock):
    cpu_times = itertools.count(start=0.0, step=0.5)
    health = health_of(clock, cpu_time_s=lambda: next(cpu_times))

    clock.advance(10)

    assert health.sample(stuck=0).cpu_percent == 5.0


def test_cpu_is_absent_right_after_the_start(clock):
    health = health_of(clock)

    clock.advance(0.1)

    assert not health.sample(stuck=0).HasField("cpu_percent")


def test_the_time_of_collectors_is_summed_and_starts_anew(clock):
    health = health_of(clock)
    health.collected(0.004)
    health.collected(0.006)

    assert health.sample(stuck=0).collect_ms == pytest.approx(10)
    assert health.sample(stuck=0).collect_ms == 0


def test_what_the_buffer_keeps_and_dropped_is_told(clock):
    buffer = MemoryBuffer(BufferBounds(max_bytes=1_000))
    health = health_of(clock, buffer=buffer)
    for seq in range(1, 4):
        buffer.put(
            NumberedBatch(
                epoch=1, seq=seq, time_unix_ns=0, monotonic_ns=0, samples=5, payload=bytes(100)
            )
        )

    sample = health.sample(stuck=0)

    assert (sample.spool_batches, sample.spool_bytes, sample.dropped_samples) == (2, 1_000, 5)
    assert sample.memory_rss_bytes > 1024 * 1024
    assert health.sample(stuck=0).dropped_samples == 0


def test_the_clock_offset_is_unknown_before_a_gateway_said_its_time(clock):
    assert ClockOffset(clock).ms() is None
    assert not health_of(clock).sample(stuck=0).HasField("clock_offset_ms")


def test_the_clock_offset_takes_the_gateways_time_as_the_middle_of_the_round_trip(clock):
    offset = ClockOffset(clock)
    asked_ns = clock.monotonic_ns()
    clock.advance(0.2)
    gateway_ns = clock.wall_ns() - round(0.1 * NS_PER_S) - 3 * NS_PER_S

    offset.learn(gateway_unix_ns=gateway_ns, sent_monotonic_ns=asked_ns)

    assert offset.ms() == pytest.approx(3_000)


def test_a_stepped_wall_clock_shows_in_the_offset_without_a_new_stream(clock):
    offset = ClockOffset(clock)
    offset.learn(gateway_unix_ns=clock.wall_ns(), sent_monotonic_ns=clock.monotonic_ns())

    clock.advance(60)
    clock.step_wall(-3_600)

    assert offset.ms() == pytest.approx(-3_600_000)
