from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.cadence import Cadence

START = datetime(2026, 2, 2, tzinfo=UTC)


def told(*seconds: float) -> list[float | None]:
    """Return what a cadence says to samples at these moments."""
    cadence = Cadence()
    return [cadence.observe(1, START + timedelta(seconds=s)) for s in seconds]


def test_the_second_sample_tells_the_interval_and_the_same_rhythm_is_no_news():
    assert told(0, 30, 61, 90) == [None, 30, None, None]


def test_a_post_that_was_left_out_is_no_new_rhythm():
    assert told(0, 30, 60, 120, 150) == [None, 30, None, None, None]


def test_a_new_rhythm_is_told_once_it_lasts():
    assert told(0, 10, 20, 80, 140, 200) == [None, 10, None, None, None, 60]


def test_late_samples_and_long_silence_tell_nothing():
    assert told(0, -60, 0, 7200) == [None, None, None, None]
