from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector_gateway import buckets
from collector_gateway.buckets import Buckets, Rate
from hostpulse.clock import NS_PER_S, ManualClock


def test_a_burst_is_admitted_and_then_one_at_a_time():
    clock = ManualClock()
    limit = Buckets(Rate(per_s=2, burst=3), clock=clock)

    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == pytest.approx(0.5)
    clock.advance(0.5)
    assert limit.take("a") == 0
    assert limit.take("a") == pytest.approx(0.5)


def test_a_refusal_takes_nothing():
    clock = ManualClock()
    limit = Buckets(Rate(per_s=1, burst=1), clock=clock)
    limit.take("a")

    assert [limit.take("a") for _ in range(100)] == [pytest.approx(1)] * 100
    clock.advance(1)
    assert limit.take("a") == 0


def test_callers_have_buckets_of_their_own():
    limit = Buckets(Rate(per_s=1, burst=1), clock=ManualClock())
    limit.take("a")

    assert limit.take("a") > 0
    assert limit.take("b") == 0


def test_a_charge_is_paid_by_waiting():
    clock = ManualClock()
    limit = Buckets(Rate(per_s=10, burst=10), clock=clock)

    assert limit.charge("a", 10) == 0
    assert limit.charge("a", 20) == pytest.approx(2)
    clock.advance(2)
    assert limit.peek("a") == pytest.approx(0.1)


def test_a_peek_takes_nothing():
    limit = Buckets(Rate(per_s=1, burst=1), clock=ManualClock())

    assert [limit.peek("a"), limit.peek("a"), limit.take("a")] == [0, 0, 0]
    assert limit.peek("a") == pytest.approx(1)


def test_who_was_heard_from_longest_ago_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(buckets, "CALLERS_MAX", 2)
    limit = Buckets(Rate(per_s=1, burst=1), clock=ManualClock())
    for caller in ("a", "b", "c"):
        limit.take(caller)

    assert len(limit) == 2
    assert limit.take("c") > 0
    assert limit.take("a") == 0


@pytest.mark.parametrize(("per_s", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_rate_that_admits_nothing_is_refused(per_s, burst):
    with pytest.raises(ValueError, match="rate must be"):
        Rate(per_s=per_s, burst=burst)


@given(
    per_s=st.floats(0.1, 1000),
    burst=st.floats(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=30),
)
def test_no_more_is_admitted_in_any_time_than_the_burst_and_what_flowed_in(per_s, burst, steps):
    clock = ManualClock()
    limit = Buckets(Rate(per_s=per_s, burst=burst), clock=clock)
    begun = clock.monotonic_ns()
    admitted = 0
    for pause_s, tries in steps:
        clock.advance(pause_s)
        admitted += sum(limit.take("a") == 0 for _ in range(tries))
        elapsed_s = (clock.monotonic_ns() - begun) / NS_PER_S
        assert admitted <= burst + per_s * elapsed_s + 1e-6
