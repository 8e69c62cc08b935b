from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from api import problems
from api import reading as api_reading
from storage import catalog, reading

GOOD = [
    ("server_id", "web-1"),
    ("metric", "cpu.cores"),
    ("from", "2026-01-01T00:00:00Z"),
    ("to", "2026-01-01T01:00:00Z"),
]
START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_catalog_lists_every_name_that_can_be_asked_for(door):
    metrics = (await door.client.get("/api/v1/metrics/catalog")).json()["metrics"]

    named = {each["metric"]: each for each in metrics}
    assert set(named) == {*catalog.METRICS, *catalog.ALIASES}
    assert named["memory.total_gb"] == {
        "metric": "memory.total_gb",
        "unit": "gb",
        "labels": [],
        "alias_of": "memory.total_bytes",
    }
    assert named["disk.read_mbps"]["labels"] == ["device", "mount"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["server_id", "metric", "from", "to", "step", "agg", "core"])
            | st.text(max_size=5),
            st.sampled_from(["cpu.cores", "avg", "60", "2026-01-01T00:00:00 01:00"])
            | st.text(max_size=30),
        ),
        max_size=3,
    )
)
def test_no_query_makes_the_check_fail_in_another_way_than_a_problem(extra):
    replaced = {name for name, _ in extra}
    items = [*extra, *((name, value) for name, value in GOOD if name not in replaced)]
    try:
        question = api_reading.parse(items)
    except problems.Problem as problem:
        refused = problem
    else:
        assert question.start < question.end
        return

    assert refused.status == 400
    assert refused.errors


def test_an_offset_whose_plus_became_a_space_is_understood():
    items = [*GOOD[:2], ("from", "2026-01-01T00:00:00 02:00"), ("to", "2026-01-01T00:00:00Z")]

    assert api_reading.parse(items).start == START - timedelta(hours=2)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    st.lists(
        st.tuples(
            st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)),
            st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=5,
    ),
    st.text(max_size=10),
)
def test_an_answer_is_json_whatever_is_in_it(labels, points, name):
    question = api_reading.parse([("server_id", "x" + name.replace("\0", "")), *GOOD[1:]])
    moments = [(moment.replace(tzinfo=UTC), value) for moment, value in points]
    series = [reading.Series(labels=labels, points=moments)]

    text = api_reading.render(question, reading.Answer(tier="raw", step_s=60, series=series))

    read = json.loads(text)
    assert list(read) == ["server_id", "metric", "unit", "tier", "step_s", "series"]
    assert read["server_id"] == question.server_name
    [one] = read["series"]
    assert one["labels"] == labels
    assert [value for _, value in one["points"]] == [value for _, value in points]
