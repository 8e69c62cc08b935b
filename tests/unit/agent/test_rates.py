from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import rates

anything = st.one_of(
    st.none(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=True, allow_infinity=True),
)
rows = st.lists(anything, max_size=5)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(5, 8, 3, id="grew"),
        pytest.param(5, 5, 0, id="stood still"),
        pytest.param(8, 5, None, id="was reset"),
        pytest.param(2**64 - 1, 3, None, id="wrapped"),
        pytest.param(None, 5, None, id="was not read before"),
        pytest.param(5, None, None, id="was not read now"),
        pytest.param(5, math.nan, None, id="is no number"),
        pytest.param(5, math.inf, None, id="is infinite"),
    ],
)
def test_a_step_is_told_only_of_a_counter_that_grew(
    before: float | None, after: float | None, expected: float | None
) -> None:
    assert rates.step(before, after) == expected


def test_one_counter_that_went_backwards_spoils_its_whole_row() -> None:
    assert rates.steps([10, 10, None], [20, 9, None]) is None


def test_a_counter_that_does_not_exist_leaves_the_rest_of_its_row() -> None:
    assert rates.steps([10, None, 1], [20, None, 1]) == (10, None, 0)


def test_a_row_of_another_length_is_another_device() -> None:
    assert rates.steps([10], [20, 30]) is None


def test_only_devices_of_both_readings_have_steps() -> None:
    before = {"stayed": [1], "left": [1], "reset": [9]}
    after = {"stayed": [4], "came": [7], "reset": [2]}

    assert rates.common_steps(before, after) == {"stayed": (3,)}


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        pytest.param(1, 4, 25.0, id="a quarter"),
        pytest.param(4, 4, 100.0, id="all"),
        pytest.param(5, 4, 100.0, id="more than all by a rounding clock"),
        pytest.param(0, 0, None, id="of nothing"),
        pytest.param(1, None, None, id="of an unknown whole"),
        pytest.param(None, 4, None, id="of an unknown part"),
    ],
)
def test_a_percentage_is_absent_where_there_is_no_whole(
    part: float | None, whole: float | None, expected: float | None
) -> None:
    assert rates.percent(part, whole) == expected


@pytest.mark.parametrize(
    ("spent", "seconds", "percent"),
    [
        (0.01, 10.0, 13 / 128),  # a tick of the kernel
        (3.3333, 10.0, 4267 / 128),
        (10.0, 10.0, 100.0),
        (10.1, 10.0, 100.0),
        (0.0, 10.0, 0.0),
        (None, 10.0, None),
        (1.0, 0.0, None),
    ],
)
def test_shares_of_time_are_told_to_the_128th_of_a_percent(
    spent: float | None, seconds: float, percent: float | None
) -> None:
    assert rates.time_percent(spent, seconds) == percent


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, 5e-324])
def test_there_is_no_rate_without_time(seconds: float) -> None:
    assert rates.per_second(10.0, seconds) is None


@given(before=rows, after=rows, seconds=st.floats())
def test_a_rate_is_a_number_that_the_wire_can_carry_or_absent(
    before: list[float | None], after: list[float | None], seconds: float
) -> None:
    for went in rates.steps(before, after) or ():
        rate = rates.per_second(went, seconds)

        assert rate is None or 0 <= rate <= rates.LARGEST


@given(part=anything, whole=anything)
def test_a_percentage_lies_between_0_and_100_or_is_absent(
    part: float | None, whole: float | None
) -> None:
    share = rates.percent(part, whole)

    assert share is None or 0 <= share <= 100
