from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from collector_gateway.clocks import EPOCH, SessionClock, to_datetime
from hostpulse.v1 import telemetry_pb2 as pb

S = 1_000_000_000
NOW = 1_800_000_000 * S
UPTIME = 5000 * S
BOOT, OTHER_BOOT = b"b" * 16, b"o" * 16


def hello(*, ahead_s: float) -> pb.Hello:
    return pb.Hello(boot_id=BOOT, time_unix_ns=NOW + int(ahead_s * S), monotonic_ns=UPTIME)


def batch(*, taken_s: float, ahead_s: float, sent_s: float, boot: bytes = BOOT) -> pb.MetricBatch:
    """Make a batch of `taken_s` after Hello, sent at `sent_s`, by a clock that is `ahead_s`."""
    return pb.MetricBatch(
        boot_id=boot,
        time_unix_ns=NOW + int((taken_s + ahead_s) * S),
        monotonic_ns=UPTIME + int(taken_s * S),
        sent_monotonic_ns=UPTIME + int(sent_s * S),
    )


@pytest.mark.parametrize("ahead_s", [0, 1.5, -299, 299])
def test_a_clock_up_to_five_minutes_off_is_believed(ahead_s):
    times = SessionClock(hello(ahead_s=ahead_s), NOW, None)

    stamp = times.stamp(batch(taken_s=10, ahead_s=ahead_s, sent_s=10), NOW + 10 * S)

    assert stamp.time == to_datetime(NOW + 10 * S) + timedelta(seconds=ahead_s)
    assert stamp.offset_ms == pytest.approx(ahead_s * 1000)
    assert not stamp.clock_is_wrong


@pytest.mark.parametrize("ahead_s", [301, -301, 3600, -86400 * 365])
def test_beyond_five_minutes_the_monotonic_clock_tells_the_time(ahead_s):
    times = SessionClock(hello(ahead_s=ahead_s), NOW, None)

    stamp = times.stamp(batch(taken_s=10, ahead_s=ahead_s, sent_s=70), NOW + 70 * S)

    assert stamp.time == to_datetime(NOW + 10 * S)
    assert stamp.clock_is_wrong


def test_a_clock_that_is_stepped_in_between_tears_no_hole():
    times = SessionClock(hello(ahead_s=0), NOW, None)
    stamps = [
        times.stamp(batch(taken_s=t, ahead_s=3600 if t >= 30 else 0, sent_s=t), NOW + t * S)
        for t in (10, 20, 30, 40)
    ]

    steps = [b.time - a.time for a, b in pairwise(stamps)]
    assert steps == [timedelta(seconds=10)] * 3


def test_batches_of_one_tick_get_one_time_whatever_their_delivery():
    times = SessionClock(hello(ahead_s=3600), NOW, None)
    first = times.stamp(batch(taken_s=10, ahead_s=3600, sent_s=10), NOW + 10 * S)

    late = times.stamp(batch(taken_s=10, ahead_s=3600, sent_s=10.2), NOW + 10 * S + S // 2)

    assert late.time == first.time


def test_batches_of_an_earlier_boot_are_corrected_by_the_last_offset():
    times = SessionClock(hello(ahead_s=0), NOW, 3_600_000.0)

    stamp = times.stamp(batch(taken_s=-60, ahead_s=3600, sent_s=1, boot=OTHER_BOOT), NOW + S)

    assert stamp.time == to_datetime(NOW - 60 * S)


@pytest.mark.parametrize("absurd", [0, 1, 2**64 - 1])
def test_absurd_times_never_raise(absurd):
    message = pb.Hello(boot_id=BOOT, time_unix_ns=absurd, monotonic_ns=absurd)
    times = SessionClock(message, NOW, None)

    stamp = times.stamp(
        pb.MetricBatch(
            boot_id=BOOT, time_unix_ns=absurd, monotonic_ns=absurd, sent_monotonic_ns=absurd
        ),
        NOW,
    )

    assert stamp.time >= EPOCH


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_hosts_clock_changes_no_interval_even_of_its_backlog(step_s):
    times = SessionClock(hello(ahead_s=step_s), NOW, None)

    def ahead_s(taken_s: int) -> float:
        return step_s if taken_s >= -300 else 0  # it was stepped five minutes before Hello

    live = [times.stamp(batch(taken_s=t, ahead_s=step_s, sent_s=t), NOW + t * S) for t in (10, 20)]
    backlog = [
        times.stamp(batch(taken_s=t, ahead_s=ahead_s(t), sent_s=21), NOW + 21 * S)
        for t in range(-600, 10, 10)
    ]

    stamps = [*backlog, *live]
    assert {b.time - a.time for a, b in pairwise(stamps)} == {timedelta(seconds=10)}
    assert stamps[0].time == to_datetime(NOW - 600 * S)


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_our_own_clock_loses_and_doubles_no_tick(step_s):
    times = SessionClock(hello(ahead_s=0), NOW, None)

    def ours_ns(at_s: int) -> int:
        return NOW + (at_s + (step_s if 100 <= at_s < 200 else 0)) * S

    stamps = [
        times.stamp(batch(taken_s=t, ahead_s=0, sent_s=t), ours_ns(t)) for t in range(0, 300, 10)
    ]

    steps = [b.time - a.time for a, b in pairwise(stamps)]
    usual = timedelta(seconds=10)
    assert len({stamp.time for stamp in stamps}) == 30
    assert [step for step in steps if step != usual] == [
        usual + timedelta(seconds=step_s),
        usual - timedelta(seconds=step_s),
    ]
    assert [stamp.clock_is_wrong for stamp in stamps] == [False] * 10 + [True] * 10 + [False] * 10


def test_epochs_of_earlier_boots_are_each_corrected_by_their_own_offset():
    times = SessionClock(hello(ahead_s=0), NOW, 0.0, {7: 3_600_000.0})
    old = batch(taken_s=-60, ahead_s=3600, sent_s=1, boot=OTHER_BOOT)
    old.epoch = 7

    assert times.stamp(old, NOW + S).time == to_datetime(NOW - 60 * S)
    old.epoch = 8
    assert times.stamp(old, NOW + S).time == to_datetime(NOW + 3540 * S)
