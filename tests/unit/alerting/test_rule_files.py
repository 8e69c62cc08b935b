"""Rules as TOML files: what is read, and what is refused with file, field, expectation, value."""

from __future__ import annotations

import pytest

from alerting import rule_files
from hostpulse import errors

GOOD = """
[[rule]]
name = "root_disk"
metric = "disk.used_percent"
operator = ">"
recovery_threshold = 75
keep_firing_for = "5m"
repeat = "1h"
labels = { mount = "/" }
servers = { labels = { env = "prod" } }
annotations = { runbook = "https://example.org/disk" }
levels = [
  { severity = "warning", threshold = 80, for = "5m" },
  { severity = "critical", threshold = 90 },
]

[[inhibit]]
source = "agent_offline"
targets = ["*"]
"""
LEVEL = 'levels = [{ severity = "warning", threshold = 80, for = "5m" }]'
SMALL = f'[[rule]]\nname = "a"\nmetric = "cpu.usage_percent"\noperator = ">"\n{LEVEL}\n'


def test_a_file_says_all_of_a_rule_and_the_rest_has_its_default(tmp_path):
    (tmp_path / "disks.toml").write_text(GOOD)

    wanted = rule_files.read(tmp_path)

    row = wanted.rules["root_disk"]
    assert row["metric"] == "disk_usage.used_percent"
    assert (row["keep_firing_for_s"], row["repeat_interval_s"]) == (300, 3600)
    assert row["levels"] == [
        {"severity": "warning", "threshold": 80, "for_s": 300.0},
        {"severity": "critical", "threshold": 90, "for_s": 0.0},
    ]
    assert row["server_selector"] == {"labels": {"env": "prod"}}
    assert (row["no_data"], row["group_by"], row["enabled"]) == ("keep", "rule", True)
    assert wanted.inhibitions == {("agent_offline", "*")}


REFUSED = [
    ("", "[[rule]\n", ["a.toml", "TOML"]),
    ("", "[[rules]]\n", ["a.toml", "inhibit, rule", "rules"]),
    ("", 'rule = "x"\n', ["a.toml: rule", "[[rule]]"]),
    (SMALL, "threshhold = 1\n", ["rule[0]", "made of", "threshhold"]),
    (SMALL, 'name = "b c"\n', ["TOML"]),
    (SMALL, 'repeat = "soon"\n', ["a.toml: a.repeat", "30s, 5m or 1h", "soon"]),
    (SMALL, 'repeat = "5s"\n', ["a.repeat_interval_s", "at least 60"]),
    (SMALL, 'enabled = "yes"\n', ["a.enabled", "true or false"]),
    (SMALL, "recovery_threshold = 95\n", ["a.recovery_threshold", "at most", "95"]),
    (SMALL, 'escalate_after = "10m"\n', ["a.escalate_channels", "names of channels"]),
    (SMALL, 'group_by = "zone"\n', ["a.group_by", "none, rule, server", "zone"]),
    (SMALL, 'annotations = { runbook = "wiki" }\n', ["a.annotations.runbook", "a link", "wiki"]),
    (SMALL, '[[inhibit]]\nsource = "a"\ntargets = ["a"]\n', ["inhibit[0].targets", "other rules"]),
    (SMALL, SMALL, ["a.toml: name", "no other rule", "'a'"]),
]


@pytest.mark.parametrize(
    ("head", "tail", "words"), REFUSED, ids=[f"{n}-{r[2][0]}" for n, r in enumerate(REFUSED)]
)
def test_a_wrong_file_is_refused_with_file_field_expectation_and_value(tmp_path, head, tail, words):
    (tmp_path / "a.toml").write_text(head + tail)

    with pytest.raises(errors.ConfigError) as caught:
        rule_files.read(tmp_path)

    for word in words:
        assert word in str(caught.value)


def test_a_directory_without_files_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="a directory with"):
        rule_files.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5h", 5400), (30, 30), ("7d", 604_800)]
)
def test_a_time_is_read(text, seconds):
    assert rule_files.duration_s("for", text) == seconds


@pytest.mark.parametrize(
    "value", ["", "5 m", "1w", "9" * 400 + "d", "4000d", 1e308, 10**400, float("nan"), True, None]
)
def test_what_is_no_time_or_too_long_is_refused(value):
    with pytest.raises(errors.ConfigError, match="at most 3650d"):
        rule_files.duration_s("for", value)
