from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import fields, problems, rows, samples
from storage import catalog

NOW = datetime(2026, 2, 2, 14, 30, tzinfo=UTC)
GIB = 2**30


def parse(metrics):
    document = {"server_id": "web-1", "timestamp": "2026-02-02T14:30:00Z", "metrics": metrics}
    return samples.parse(document, now=NOW).values


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        (
            {"total_gb": 16, "used_gb": 4},
            {"available_bytes": 12 * GIB, "used_percent": 25, "available_percent": 75},
        ),
        (
            {"total_gb": 16, "available_gb": 4},
            {"used_bytes": 12 * GIB, "used_percent": 75, "available_percent": 25},
        ),
        (
            {"total_gb": 16, "used_percent": 25},
            {"used_bytes": 4 * GIB, "available_bytes": 12 * GIB, "available_percent": 75},
        ),
        ({"used_percent": 40}, {"available_percent": 60}),
        ({"available_percent": 40}, {"used_percent": 60}),
        ({"total_gb": 16}, {}),
        ({"total_gb": 0, "used_gb": 0}, {"available_bytes": 0}),
        (
            {"swap_total_bytes": 1000, "swap_used_percent": 25},
            {"swap_used_bytes": 250},
        ),
        ({"swap_total_bytes": 1000, "swap_used_bytes": 250}, {"swap_used_percent": 25}),
    ],
    ids=[
        "used",
        "available",
        "share",
        "share alone",
        "rest alone",
        "total",
        "zero",
        "swap",
        "swap",
    ],
)
def test_memory_is_completed(given, derived):
    given_columns = {fields.MEMORY[name].column.name for name in given}

    values = parse({"memory": given})["memory"][""]

    assert {name: each for name, each in values.items() if name not in given_columns} == derived


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        ({"total_gb": 100, "used_gb": 65}, {"free_bytes": 35 * GIB, "used_percent": 65}),
        ({"total_gb": 100, "free_gb": 35}, {"used_bytes": 65 * GIB, "used_percent": 65}),
        (
            {"total_gb": 100, "used_percent": 65},
            {"used_bytes": 65 * GIB, "free_bytes": 35 * GIB},
        ),
        ({"used_gb": 30, "free_gb": 10}, {"used_percent": 75}),
        ({"inodes_total": 200, "inodes_used": 50}, {"inodes_used_percent": 25}),
        ({"used_percent": 65}, {}),
    ],
    ids=["used", "free", "share", "as df", "inodes", "share alone"],
)
def test_disk_usage_is_completed(given, derived):
    given_columns = {fields.DISK[name].column.name for name in given}

    values = parse({"disk": {"/": given}})["disk_usage"]["/"]

    assert {name: each for name, each in values.items() if name not in given_columns} == derived


def test_load_per_core_follows_from_the_cores():
    values = parse({"cpu": {"cores": [1, 2, 3, 4], "load_average": [6, 5, 4]}})["cpu"][""]

    assert values["load1_per_core"] == 1.5


def test_loss_and_utilization_follow_from_rates_and_speed():
    eth0 = {
        "rx_mbps": 250,
        "tx_mbps": 100,
        "speed_mbps": 1000,
        "rx_packets": 60,
        "tx_packets": 30,
        "rx_drops_per_s": 10,
        "tx_drops_per_s": 0,
    }

    values = parse({"network": {"eth0": eth0, "eth1": eth0 | {"rx_packets": 1, "tx_packets": 2}}})

    assert values["network"]["eth0"]["packet_loss_percent"] == 10
    assert values["network"]["eth0"]["utilization_percent"] == 25
    assert "packet_loss_percent" not in values["network"]["eth1"]


def test_what_was_given_is_never_replaced():
    values = parse({"memory": {"total_gb": 16, "used_gb": 4, "used_percent": 26}})["memory"][""]

    assert values["used_percent"] == 26


def test_disk_traffic_goes_under_the_device_where_it_is_known():
    document = {
        "server_id": "web-1",
        "timestamp": "2026-02-02T14:30:00Z",
        "metrics": {"disk": {"/": {"read_mbps": 1}, "/data": {"read_mbps": 2, "used_gb": 1}}},
    }
    submission = samples.parse(document, now=NOW)

    made = rows.make(submission, server_id=7, devices={"/": "sda1"})

    assert [row[:4] for row in made["disk_io"]] == [
        (NOW, 7, "sda1", 1e6),
        (NOW, 7, "/data", 2e6),
    ]
    assert [row[:3] for row in made["disk_usage"]] == [(NOW, 7, "/data")]
    assert all(len(row) == len(catalog.DISK_IO.columns) for row in made["disk_io"])


@settings(deadline=None)
@given(st.floats(0, 16_000).map(lambda number: round(number, 9)))
def test_a_size_in_gb_reads_back_as_it_was_given(number):
    stored = fields.MEMORY["total_gb"].stored(number)

    assert round(stored * catalog.find_metric("memory.total_gb").factor, 9) == pytest.approx(
        number, abs=1e-9
    )


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda each: (
            st.lists(each)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "server_id",
                        "timestamp",
                        "metrics",
                        "cpu",
                        "disk",
                        "memory",
                        "network",
                        "/",
                        "cores",
                        "total_gb",
                    ]
                )
                | st.text(),
                each,
            )
        ),
        max_leaves=8,
    )
)
def test_no_document_makes_the_check_fail_in_another_way_than_a_problem(document):
    with pytest.raises(problems.Problem):
        samples.parse(document, now=NOW)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*fields.MEMORY]), st.floats() | st.integers() | st.booleans(), max_size=4
    )
)
def test_whatever_is_accepted_is_in_range(given):
    try:
        values = parse({"memory": given})["memory"][""]
    except problems.Problem:
        return
    for name, value in values.items():
        assert isinstance(value, int | float)
        assert value >= 0
        if name.endswith("_percent"):
            assert value <= 100
        if name.endswith("_bytes"):
            assert isinstance(value, int)
            assert value < 2**63
