from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from collector_gateway.clocks import EPOCH, SessionClock, Stamp, to_datetime
from hostpulse.clock import ManualClock
from hostpulse.v1 import telemetry_pb2 as pb

S = 1_000_000_000
NOW = 1_800_000_000 * S
UPTIME, OUR_UPTIME = 5000 * S, 70_000 * S
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


class Gateway:
    """A stream's clock at a gateway, which says itself what the time is."""

    def __init__(self, message: pb.Hello, *last_offsets: object) -> None:
        self.clock = ManualClock(wall_ns=NOW, monotonic_ns=OUR_UPTIME)
        self.times = SessionClock(message, self.clock, *(last_offsets or (None,)))
        self.now_s = 0.0

    def stamp(self, message: pb.MetricBatch, at_s: float) -> Stamp:
        """Receive a batch `at_s` after Hello."""
        self.clock.advance(at_s - self.now_s)
        self.now_s = at_s
        return self.times.stamp(message)


@pytest.mark.parametrize("ahead_s", [0, 1.5, -299, 299])
def test_a_clock_up_to_five_minutes_off_is_believed(ahead_s):
    times = Gateway(hello(ahead_s=ahead_s))

    stamp = times.stamp(batch(taken_s=10, ahead_s=ahead_s, sent_s=10), 10)

    assert stamp.time == to_datetime(NOW + 10 * S) + timedelta(seconds=ahead_s)
    assert stamp.offset_ms == pytest.approx(ahead_s * 1000)
    assert not stamp.clock_is_wrong


@pytest.mark.parametrize("ahead_s", [301, -301, 3600, -86400 * 365])
def test_beyond_five_minutes_the_monotonic_clock_tells_the_time(ahead_s):
    times = Gateway(hello(ahead_s=ahead_s))

    stamp = times.stamp(batch(taken_s=10, ahead_s=ahead_s, sent_s=70), 70)

    assert stamp.time == to_datetime(NOW + 10 * S)
    assert stamp.clock_is_wrong


def test_a_clock_that_is_stepped_in_between_tears_no_hole():
    times = Gateway(hello(ahead_s=0))
    stamps = [
        times.stamp(batch(taken_s=t, ahead_s=3600 if t >= 30 else 0, sent_s=t), t)
        for t in (10, 20, 30, 40)
    ]

    steps = [b.time - a.time for a, b in pairwise(stamps)]
    assert steps == [timedelta(seconds=10)] * 3


def test_batches_of_one_tick_get_one_time_whatever_their_delivery():
    times = Gateway(hello(ahead_s=3600))
    first = times.stamp(batch(taken_s=10, ahead_s=3600, sent_s=10), 10)

    late = times.stamp(batch(taken_s=10, ahead_s=3600, sent_s=10.2), 10.5)

    assert late.time == first.time


def test_batches_of_an_earlier_boot_are_corrected_by_the_last_offset():
    times = Gateway(hello(ahead_s=0), 3_600_000.0)

    stamp = times.stamp(batch(taken_s=-60, ahead_s=3600, sent_s=1, boot=OTHER_BOOT), 1)

    assert stamp.time == to_datetime(NOW - 60 * S)


@pytest.mark.parametrize("absurd", [0, 1, 2**64 - 1])
def test_absurd_times_never_raise(absurd):
    message = pb.Hello(boot_id=BOOT, time_unix_ns=absurd, monotonic_ns=absurd)
    times = Gateway(message)

    stamp = times.stamp(
        pb.MetricBatch(
            boot_id=BOOT, time_unix_ns=absurd, monotonic_ns=absurd, sent_monotonic_ns=absurd
        ),
        0,
    )

    assert stamp.time >= EPOCH


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_the_hosts_clock_changes_no_interval_even_of_its_backlog(step_s):
    times = Gateway(hello(ahead_s=step_s))

    def ahead_s(taken_s: int) -> float:
        return step_s if taken_s >= -300 else 0  # it was stepped five minutes before Hello

    live = [times.stamp(batch(taken_s=t, ahead_s=step_s, sent_s=t), t) for t in (10, 20)]
    backlog = [
        times.stamp(batch(taken_s=t, ahead_s=ahead_s(t), sent_s=21), 21)
        for t in range(-600, 10, 10)
    ]

    stamps = [*backlog, *live]
    assert {b.time - a.time for a, b in pairwise(stamps)} == {timedelta(seconds=10)}
    assert stamps[0].time == to_datetime(NOW - 600 * S)


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_of_our_own_clock_loses_and_doubles_no_tick(step_s):
    times = Gateway(hello(ahead_s=0))

    stamps = []
    for t in range(0, 300, 10):
        if t in {100, 200}:
            times.clock.step_wall(step_s if t == 100 else -step_s)
        stamps.append(times.stamp(batch(taken_s=t, ahead_s=0, sent_s=t), t))

    steps = [b.time - a.time for a, b in pairwise(stamps)]
    usual = timedelta(seconds=10)
    assert len({stamp.time for stamp in stamps}) == 30
    assert [step for step in steps if step != usual] == [
        usual + timedelta(seconds=step_s),
        usual - timedelta(seconds=step_s),
    ]
    assert [stamp.clock_is_wrong for stamp in stamps] == [False] * 10 + [True] * 10 + [False] * 10


def test_epochs_of_earlier_boots_are_each_corrected_by_their_own_offset():
    times = Gateway(hello(ahead_s=0), 0.0, {7: 3_600_000.0})
    old = batch(taken_s=-60, ahead_s=3600, sent_s=1, boot=OTHER_BOOT)
    old.epoch = 7

    assert times.stamp(old, 1).time == to_datetime(NOW - 60 * S)
    old.epoch = 8
    assert times.stamp(old, 1).time == to_datetime(NOW + 3540 * S)


@pytest.mark.parametrize("ahead_s", [0, -3600])
def test_what_is_read_late_is_no_older_for_it(ahead_s):
    times = Gateway(hello(ahead_s=ahead_s))
    before = [times.stamp(batch(taken_s=t, ahead_s=ahead_s, sent_s=t), t) for t in (10, 20)]
    # The gateway was frozen for half an hour; the connection held what had been sent.
    late = [times.stamp(batch(taken_s=t, ahead_s=ahead_s, sent_s=t), 1800) for t in (30, 40)]
    after = times.stamp(batch(taken_s=1810, ahead_s=ahead_s, sent_s=1810), 1810)

    stamps = [*before, *late]
    assert [s.clock_is_wrong for s in stamps] == [ahead_s != 0] * 4
    for stamp, taken_s in zip(late, (30, 40), strict=True):
        assert abs(stamp.time - to_datetime(NOW + taken_s * S)) < timedelta(seconds=1)
    assert abs(after.time - to_datetime(NOW + 1810 * S)) < timedelta(seconds=1)


def test_clocks_that_drift_apart_for_months_make_no_clock_wrong():
    times = Gateway(hello(ahead_s=0))
    offsets_s = []
    for hour in range(1, 24 * 180):
        ours_s = hour * 3600
        theirs_s = ours_s * (1 - 1e-4)  # a clock of the agent's that loses 100 parts in a million
        on_time = batch(taken_s=theirs_s, ahead_s=ours_s - theirs_s, sent_s=theirs_s)
        offsets_s.append(times.stamp(on_time, ours_s).offset_ms / 1000)

    assert max(map(abs, offsets_s)) < 2
