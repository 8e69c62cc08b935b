"""Rules: what is read, and what is refused with which words."""

from __future__ import annotations

import pytest

from alerting import parsing, rules

VALID = {
    "id": 1,
    "name": "disk_usage",
    "metric": "disk_usage.used_percent",
    "operator": ">",
    "levels": [
        {"severity": "critical", "threshold": 90, "for_s": 60},
        {"severity": "warning", "threshold": 80, "for_s": 60},
    ],
    "no_data": "keep",
    "recovery_threshold": 75,
    "label_filter": {"mount": ["/", "/var"]},
    "server_selector": {"names": ["web"], "labels": {"env": "prod"}},
    "annotations": {"runbook": "https://example.org/disk"},
}


def test_a_rule_is_read_with_its_levels_from_mild_to_bad():
    rule = parsing.parse(VALID)

    assert [level.severity for level in rule.levels] == ["warning", "critical"]
    assert rule.recovery == 75
    assert rule.watches({"mount": "/var"})
    assert not rule.watches({"mount": "/home"})
    assert rule.selector.matches("web", {"env": "prod", "team": "a"})
    assert not rule.selector.matches("web", {"env": "test"})
    assert not rule.selector.matches("db", {"env": "prod"})


def test_an_alias_without_a_factor_is_read_as_its_metric():
    assert rules.metric_name("disk.used_percent") == "disk_usage.used_percent"


def test_without_a_recovery_threshold_the_mildest_level_is_it():
    assert parsing.parse(VALID | {"recovery_threshold": None}).recovery == 80


WARNING = {"severity": "warning", "threshold": 80, "for_s": 60}
REFUSED = [
    ({"metric": "disk_usage.used_percnt"}, ["metric", "catalog", "used_percnt", "did you mean"]),
    ({"metric": "memory.total_gb"}, ["metric", "base unit", "memory.total_bytes"]),
    ({"operator": "!="}, ["operator", ">=", "!="]),
    ({"levels": []}, ["levels", "1 to 2"]),
    ({"levels": "80"}, ["levels", "'80'"]),
    ({"levels": [WARNING, WARNING]}, ["levels", "different severities"]),
    ({"levels": [WARNING | {"threshold": "80"}]}, ["levels[0].threshold", "number", "'80'"]),
    ({"levels": [WARNING | {"threshold": float("nan")}]}, ["levels[0].threshold", "nan"]),
    ({"levels": [WARNING | {"for_s": -1}]}, ["levels[0].for_s", "between 0 and 86400", "-1"]),
    ({"levels": [WARNING | {"severity": "bad"}]}, ["levels[0].severity", "critical", "bad"]),
    (
        {"levels": [WARNING, {"severity": "critical", "threshold": 70, "for_s": 0}]},
        ["threshold of critical", "not below", "80", "70"],
    ),
    ({"recovery_threshold": 85}, ["recovery_threshold", "at most", "80", "85"]),
    ({"no_data": "page"}, ["no_data", "keep, ok, alert", "page"]),
    ({"label_filter": {"interface": "eth0"}}, ["label_filter", "mount", "interface"]),
    ({"label_filter": {"mount": []}}, ["label_filter.mount", "empty"]),
    ({"server_selector": {"name": "web"}}, ["server_selector", "names and labels", "name"]),
    ({"server_selector": {"names": "web"}}, ["server_selector.names", "list of texts", "web"]),
    ({"server_selector": {"names": ["a\0"]}}, ["server_selector.names", "without NUL"]),
    ({"server_selector": {"labels": {"env": "\ud800"}}}, ["server_selector.labels.env", "halves"]),
    ({"label_filter": {"mount": "/\0"}}, ["label_filter.mount", "without NUL"]),
    ({"annotations": {"a\0": "x"}}, ["annotations", "without NUL"]),
    ({"server_selector": None}, ["server_selector", "an object"]),
    ({"label_filter": []}, ["label_filter", "an object"]),
    ({"channels": ""}, ["channels", "list of texts"]),
    ({"escalate_channels": {}}, ["escalate_channels", "list of texts"]),
    ({"annotations": 0}, ["annotations", "an object"]),
    ({"annotations": {"runbook": 1}}, ["annotations.runbook", "text", "1"]),
    ({"annotations": {"note": "x" * 1001}}, ["annotations.note", "at most 1000", "1001"]),
    ({"annotations": {"": "x"}}, ["annotations", "1 to 64 characters"]),
    ({"annotations": {f"n{n}": "" for n in range(21)}}, ["annotations", "at most 20", "21"]),
    ({"repeat_interval_s": 5}, ["repeat_interval_s", "at least 60", "5"]),
    (
        {
            "metric": "server.offline",
            "operator": "<",
            "levels": [WARNING],
            "recovery_threshold": None,
            "label_filter": {},
        },
        ["operator", "server.offline"],
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), REFUSED, ids=[f"{min(c)}-{n}" for n, (c, _) in enumerate(REFUSED)]
)
def test_a_wrong_field_is_refused_with_field_expectation_and_value(change, words):
    with pytest.raises(rules.InvalidRule) as caught:
        parsing.parse(VALID | change)

    for word in words:
        assert word in str(caught.value)


def test_a_critical_threshold_of_a_lower_bound_lies_below_the_warning():
    low = {
        "metric": "memory.available_bytes",
        "operator": "<",
        "label_filter": {},
        "recovery_threshold": 600e6,
        "levels": [
            {"severity": "warning", "threshold": 500e6, "for_s": 60},
            {"severity": "critical", "threshold": 100e6, "for_s": 60},
        ],
    }

    rule = parsing.parse(VALID | low)

    assert rule.recovery == 600e6
