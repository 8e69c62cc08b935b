from __future__ import annotations

import pytest

from collector_gateway.buckets import Limited
from collector_gateway.limits import Limits, weigh
from hostpulse.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def limits(clock):
    return Limits(requests_per_s=1, server_bytes_per_s=1000, clock=clock)


def test_a_key_has_ten_seconds_worth_at_once_and_then_its_rate(limits, clock):
    for _ in range(10):
        limits.admit_request_of("key a")
    with pytest.raises(Limited, match="too many requests with this key") as refused:
        limits.admit_request_of("key a")
    limits.admit_request_of("key b")
    clock.advance(refused.value.after_s)
    limits.admit_request_of("key a")


def test_an_address_may_make_more_requests_than_one_key(limits):
    for _ in range(40):
        limits.admit_request("10.0.0.9")
    with pytest.raises(Limited, match="this address"):
        limits.admit_request("10.0.0.9")


def test_a_server_that_sends_too_much_is_read_no_faster_than_its_rate(limits, clock):
    assert limits.charge_message("a", 10_000) == 0
    assert limits.charge_message("a", 2_000) == pytest.approx(2)
    assert limits.charge_message("b", 2_000) == 0


def test_what_is_posted_counts_as_what_is_streamed(limits, clock):
    limits.charge_message("a", 9_000)
    limits.admit_post("a", 2_000)  # whoever has anything left is let in, whatever the size
    with pytest.raises(Limited, match="samples of this server") as refused:
        limits.admit_post("a", 256)
    limits.admit_post("b", 256)
    clock.advance(refused.value.after_s)
    limits.admit_post("a", 256)


@pytest.mark.parametrize(
    ("size", "samples", "weight"),
    [(2, 0, 256), (900, 28, 900), (2_000, 1_000, 32_000), (200_000, 1_000, 200_000)],
    ids=["a small message", "a full tick", "rows without values", "long names"],
)
def test_a_message_weighs_its_bytes_or_its_rows_whichever_is_more(size, samples, weight):
    assert weigh(size, samples) == weight


def test_verdicts_come_a_few_a_second_at_most():
    assert weigh(20, 0, is_verdict=True) == 32 * 1024
