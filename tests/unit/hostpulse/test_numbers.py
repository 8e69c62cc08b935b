from __future__ import annotations

import math

import pytest

from agent import options
from alerting import backtest, parsing
from alerting.rules import InvalidRule
from hostpulse.errors import ConfigError
from hostpulse.numbers import finite
from storage import config_fields

GREAT = 10**400  # JSON and TOML take it, and no float does


@pytest.mark.parametrize(
    "value",
    [GREAT, -GREAT, math.inf, math.nan, True, "1", None],
    ids=["great", "far below", "infinite", "no number", "truth", "text", "nothing"],
)
def test_what_is_no_finite_number_is_none(value):
    assert finite(value) is None


@pytest.mark.parametrize("value", [0, -1, 2.5, 2**63])
def test_a_number_is_itself(value):
    assert finite(value) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval_s", GREAT),
        ("process_top_n", GREAT),
        ("interface_speeds_mbps", {"eth0": GREAT}),
        ("interface_speeds_mbps", {"eth0": math.inf}),
    ],
    ids=["number", "integer", "speed", "infinite speed"],
)
def test_a_config_with_a_number_that_no_float_holds_is_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        config_fields.check_all({name: value})


def test_a_rule_and_a_test_of_one_refuse_such_a_threshold():
    row = {
        "name": "r",
        "metric": "cpu.usage_percent",
        "operator": ">",
        "levels": [{"severity": "warning", "threshold": GREAT}],
        "no_data": "keep",
    }
    with pytest.raises(InvalidRule, match=r"levels\[0\]\.threshold must be a finite number"):
        parsing.parse(row)
    with pytest.raises(ConfigError, match="thresholds"):
        backtest.read_thresholds([GREAT])


@pytest.mark.parametrize("name", ["interval_s", "process_top_n", "interface_speeds_mbps"])
def test_an_agent_refuses_it_as_a_setting(name):
    raw = {"eth0": GREAT} if name == "interface_speeds_mbps" else GREAT
    with pytest.raises(ConfigError, match=name):
        options.BY_NAME[name].parse(name, raw)
