from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import catalog, tiers

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT = {"raw": timedelta(days=7), "1m": timedelta(days=30), "1h": timedelta(days=365)}
HOUR_AGO = timedelta(hours=1)
WEEK_AGO = timedelta(days=7)


def choose(step_s: int | None, age: timedelta) -> list[tuple[str, int | None]]:
    found = tiers.choose(step_s, start=NOW - age, now=NOW, kept=KEPT)
    return [(choice.tier.name, choice.step_s) for choice in found]


# step, age of the range's begin -> tier, step of the answer
STEPS = {
    "under a minute": (30, HOUR_AGO, "raw", 30),
    "just under a minute": (59, HOUR_AGO, "raw", 59),
    "a minute": (60, HOUR_AGO, "1m", 60),
    "five minutes": (300, HOUR_AGO, "1m", 300),
    "no whole minutes": (90, HOUR_AGO, "1m", 120),
    "just under an hour": (3599, HOUR_AGO, "1m", 3600),
    "an hour": (3600, HOUR_AGO, "1h", 3600),
    "no whole hours": (5400, HOUR_AGO, "1h", 7200),
    "a day": (86_400, timedelta(days=300), "1h", 86_400),
    "a week ago": (30, WEEK_AGO, "raw", 30),
    "a week ago and a moment": (30, WEEK_AGO + timedelta(seconds=2), "raw", 30),
    "older than raw samples": (30, WEEK_AGO + HOUR_AGO, "1m", 60),
    "minutes of last month": (300, timedelta(days=29), "1m", 300),
    "older than minutes": (300, timedelta(days=31), "1h", 3600),
    "older than everything": (30, timedelta(days=4000), "1h", 3600),
}


@pytest.mark.parametrize(("step_s", "age", "tier", "answered_s"), STEPS.values(), ids=STEPS)
def test_a_step_is_served_by_its_tier_or_by_the_next_that_goes_back_far_enough(
    step_s, age, tier, answered_s
):
    assert choose(step_s, age) == [(tier, answered_s)]


def test_without_a_step_every_tier_that_has_the_whole_range_may_answer_the_finest_first():
    assert choose(None, HOUR_AGO) == [("raw", None), ("1m", 60), ("1h", 3600)]
    assert choose(None, timedelta(days=8)) == [("1m", 60), ("1h", 3600)]
    assert choose(None, timedelta(days=500)) == [("1h", 3600)]


@given(
    st.none() | st.integers(5, 86_400),
    st.timedeltas(timedelta(0), timedelta(days=3000)),
    st.tuples(*[st.integers(1, 400)] * 3),
)
def test_whatever_is_kept_a_tier_is_found_that_is_no_finer_than_asked(step_s, age, days):
    kept = dict(zip(KEPT, (timedelta(days=each) for each in days), strict=True))

    found = tiers.choose(step_s, start=NOW - age, now=NOW, kept=kept)

    assert found
    for choice in found:
        assert choice.step_s is None or choice.step_s >= (step_s or 0)
        assert not choice.tier.width_s or (choice.step_s or 0) % choice.tier.width_s == 0
        assert choice.tier is tiers.HOUR or kept[choice.tier.name] + tiers.SLACK >= age


def test_a_bucket_begins_at_a_multiple_of_its_width_and_a_sample_at_itself():
    moment = datetime(2026, 3, 1, 12, 34, 56, 7, tzinfo=UTC)

    assert tiers.RAW.begin(moment) == moment
    assert tiers.MINUTE.begin(moment) == datetime(2026, 3, 1, 12, 34, tzinfo=UTC)
    assert tiers.HOUR.begin(moment) == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_rollups_tell_processes_apart_by_name_and_user_only():
    cores = catalog.find_metric("cpu.cores")
    process = catalog.find_metric("process.cpu_percent")

    assert tiers.RAW.label_names(process) == ("pid", "name", "username")
    assert tiers.HOUR.label_names(process) == ("name", "username")
    assert tiers.HOUR.label_names(cores) == ("core",)
    assert not tiers.MINUTE.has(catalog.PROCESS, "cpu_rank")
