from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostpulse import backoff


@given(st.integers(min_value=1, max_value=200), st.randoms(use_true_random=False))
def test_every_delay_is_within_the_bounds_of_its_policy(count, random):
    policy = backoff.BackoffPolicy(initial_s=0.5, maximum_s=30.0)

    delays = list(itertools.islice(backoff.delays(policy, uniform=random.uniform), count))

    assert all(policy.minimum_s <= each <= policy.maximum_s for each in delays)
    assert delays[0] <= policy.initial_s


def test_ceilings_double_up_to_the_maximum_and_jitter_is_full():
    asked = []

    def uniform(low, high):
        asked.append((low, high))
        return low

    policy = backoff.BackoffPolicy(initial_s=0.5, maximum_s=3.0, minimum_s=0.0)
    list(itertools.islice(backoff.delays(policy, uniform=uniform), 5))

    assert asked == [(0.0, 0.5), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (0.0, 3.0)]


@pytest.mark.parametrize(
    ("server_s", "expected"),
    [
        pytest.param(None, 2.0, id="said nothing"),
        pytest.param(10.0, 12.0, id="added, so that those who were told the same spread"),
        pytest.param(1e9, 2.0 + backoff.SERVER_DELAY_MAX_S, id="bounded"),
        pytest.param(-5.0, 2.0, id="negative"),
        pytest.param(float("nan"), 2.0, id="not a number"),
    ],
)
def test_a_server_may_ask_for_patience(server_s, expected):
    assert backoff.honoured(2.0, server_s) == expected


@pytest.mark.parametrize(
    "bounds",
    [
        {"initial_s": 2.0, "maximum_s": 1.0},
        {"minimum_s": -1.0},
        {"minimum_s": 1.0, "initial_s": 0.5},
        {"multiplier": 0.5},
    ],
    ids=str,
)
def test_contradictory_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="must"):
        backoff.BackoffPolicy(**bounds)


async def test_a_pause_ends_when_its_time_is_over():
    assert not await backoff.pause(0.001, asyncio.Event())


async def test_a_pause_wakes_on_stop():
    stop = asyncio.Event()
    pausing = asyncio.create_task(backoff.pause(3600.0, stop))

    stop.set()

    async with asyncio.timeout(1.0):
        assert await pausing


async def test_a_pause_after_the_stop_does_not_wait():
    stop = asyncio.Event()
    stop.set()

    async with asyncio.timeout(1.0):
        assert await backoff.pause(3600.0, stop)
