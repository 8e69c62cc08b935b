from __future__ import annotations

import time

import pytest

from hostpulse import clock


def test_the_system_clock_reads_both_clocks_in_nanoseconds():
    system = clock.SystemClock()

    assert abs(system.wall_ns() - time.time_ns()) < clock.NS_PER_S
    assert system.monotonic_ns() <= system.monotonic_ns()


def test_the_monotonic_clock_counts_through_suspend_where_the_system_can():
    if not hasattr(time, "CLOCK_BOOTTIME"):
        expected_ns = time.monotonic_ns()
    else:
        expected_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    assert 0 <= clock.SystemClock().monotonic_ns() - expected_ns < clock.NS_PER_S


def test_a_system_without_boottime_falls_back_to_monotonic(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    assert abs(clock.SystemClock().monotonic_ns() - time.monotonic_ns()) < clock.NS_PER_S


def test_time_passes_on_both_manual_clocks_and_a_step_moves_only_the_wall():
    manual = clock.ManualClock(wall_ns=0, monotonic_ns=0)

    manual.advance(1.5)
    manual.step_wall(-3600)

    assert manual.monotonic_ns() == 1_500_000_000
    assert manual.wall_ns() == 1_500_000_000 - 3600 * clock.NS_PER_S


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="must not be negative"):
        clock.ManualClock().advance(-1)
