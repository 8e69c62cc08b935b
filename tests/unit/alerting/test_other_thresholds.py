"""What is tried beside a rule's own threshold."""

from __future__ import annotations

import pytest

from alerting import backtest, parsing


@pytest.mark.parametrize(
    ("metric", "threshold", "tried"),
    [
        ("cpu.usage_percent", 80, [70.0, 75.0, 85.0, 90.0]),
        ("cpu.usage_percent", 96, [86.0, 91.0]),
        ("cpu.load1", 4, [3.0, 3.6, 4.4, 5.0]),
        ("cpu.load1", 0, []),
        ("cpu.load1", 1.7e308, [1.275e308, 1.53e308]),  # more is no number
    ],
)
def test_thresholds_nearby_are_tried(metric, threshold, tried):
    rule = parsing.parse(
        {
            "name": "r",
            "metric": metric,
            "operator": ">",
            "no_data": "keep",
            "levels": [{"severity": "warning", "threshold": threshold, "for_s": 60}],
        }
    )

    assert backtest.other_thresholds(rule) == pytest.approx(tried)
