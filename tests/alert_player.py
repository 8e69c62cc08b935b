"""Plays samples to the state machine of alerts, ten seconds apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerting import rules
from alerting.observations import Run, Seen, Unseen
from alerting.rules import Severity
from alerting.states import AlertState, step

if TYPE_CHECKING:
    from alerting.observations import Observation

START = datetime(2026, 2, 2, 14, 30, tzinfo=UTC)
TICK_S = 10.0
LEVELS = (
    rules.Level(severity=Severity.WARNING, threshold=80, for_s=30),
    rules.Level(severity=Severity.CRITICAL, threshold=95, for_s=10),
)


def make_rule(**changes) -> rules.Rule:
    return rules.Rule(
        **{
            "id": 1,
            "name": "cpu_usage",
            "metric": "cpu.usage_percent",
            "operator": rules.Operator.ABOVE,
            "levels": LEVELS,
            "recovery_threshold": 70.0,
            "repeat_interval_s": 3600,
        }
        | changes
    )


def observe(values: list[float | None], rule: rules.Rule, index: int) -> Observation:
    """Say what is seen at sample `index`: runs are found by walking back, None is no sample."""
    value = values[index]
    if value is None:
        return Unseen()
    runs = []
    for level in rule.levels:
        first = index
        if not value > level.threshold:
            continue
        while first > 0 and values[first - 1] is not None and values[first - 1] > level.threshold:
            first -= 1
        runs.append(
            Run(
                severity=level.severity,
                since=START + timedelta(seconds=TICK_S * first),
                lasted_s=TICK_S * (index - first),
            )
        )
    return Seen(value=value, recovered=not value > rule.recovery, runs=tuple(runs))


def play(values: list[float | None], rule: rules.Rule) -> tuple[list[AlertState], list]:
    """Run the machine over samples; return the states after each, and all transitions."""
    state, history, transitions = AlertState(), [], []
    for index in range(len(values)):
        now = START + timedelta(seconds=TICK_S * index)
        state, changed = step(rule, state, observe(values, rule, index), now)
        history.append(state)
        transitions.extend(changed)
    return history, transitions
