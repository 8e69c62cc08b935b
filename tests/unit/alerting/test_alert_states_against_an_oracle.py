"""The state machine against a slow oracle: no machine, only intervals of the whole series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from alerting import states
from alerting.rules import NoDataPolicy
from alerting.states import Change, Phase
from tests.alert_player import START, TICK_S, make_rule, play

if TYPE_CHECKING:
    from alerting import rules


@dataclass
class Firing:
    opened: int
    closed: int | None = None
    how: str = ""


def breaching_for(values: list[float | None], index: int, level: rules.Level) -> float | None:
    """Seconds for which samples up to `index` breach without a hole; None if this one does not."""
    lasted = None
    for each in range(index, -1, -1):
        value = values[each]
        if value is None or value <= level.threshold:
            break
        lasted = TICK_S * (index - each)
    return lasted


def sustained(values: list[float | None], index: int, rule: rules.Rule) -> bool:
    return any(
        (lasted := breaching_for(values, index, level)) is not None and lasted >= level.for_s
        for level in rule.levels
    )


def find_firings(values: list[float | None], rule: rules.Rule) -> list[Firing]:
    """List the firings: each opens at the first sustained sample after the last one closed."""
    firings: list[Firing] = []
    start = 0
    while start < len(values):
        openings = [i for i in range(start, len(values)) if sustained(values, i, rule)]
        if not openings:
            break
        firing = Firing(opened=openings[0])
        flips = len(firings) + sum(f.how == "resolved" for f in firings)
        is_held = flips + 1 > states.FLAP_CHANGES  # for longer than a series lasts
        firings.append(firing)
        for i in range(firing.opened + 1, len(values)):
            value = values[i]
            if value is None and rule.no_data is NoDataPolicy.OK:
                firing.closed, firing.how = i, "no_data"
                break
            if value is not None and value <= rule.recovery and not is_held:
                firing.closed, firing.how = i, "resolved"
                break
        if firing.closed is None:
            break
        start = firing.closed + 1
    return firings


def expected_phase(values: list[float | None], rule: rules.Rule, index: int) -> Phase:
    """Say where the alert stands after sample `index`, from the whole past."""
    firings = find_firings(values[: index + 1], rule)
    is_open = bool(firings) and firings[-1].closed is None
    if values[index] is None:
        before = expected_phase(values, rule, index - 1) if index else Phase.OK
        troubled = before in {Phase.PENDING, Phase.FIRING, Phase.NO_DATA}
        if rule.no_data is NoDataPolicy.ALERT or troubled:
            return Phase.NO_DATA
        return before
    if is_open:
        return Phase.FIRING
    if any(breaching_for(values, index, level) is not None for level in rule.levels):
        return Phase.PENDING
    if index and values[index - 1] is not None:
        before = expected_phase(values, rule, index - 1)
        if before is Phase.RESOLVED:
            return Phase.RESOLVED
    elif index and expected_phase(values, rule, index - 1) is Phase.RESOLVED:
        return Phase.RESOLVED
    if firings and firings[-1].closed == index and firings[-1].how == "resolved":
        return Phase.RESOLVED
    return Phase.OK


series = st.lists(
    st.one_of(st.none(), st.sampled_from([60.0, 70.0, 75.0, 80.0, 85.0, 95.0, 99.0])),
    min_size=1,
    max_size=24,
)


@given(values=series, policy=st.sampled_from(NoDataPolicy))
@settings(max_examples=250, deadline=None)
def test_phases_and_firings_are_those_of_the_oracle(values, policy):
    rule = make_rule(no_data=policy)

    history, transitions = play(values, rule)

    firings = find_firings(values, rule)
    fired = [t.at for t in transitions if t.change is Change.FIRED]
    resolved = [t.at for t in transitions if t.change is Change.RESOLVED]
    assert [s.phase for s in history] == [
        expected_phase(values, rule, i) for i in range(len(values))
    ]
    assert fired == [START + timedelta(seconds=TICK_S * f.opened) for f in firings]
    assert resolved == [
        START + timedelta(seconds=TICK_S * f.closed) for f in firings if f.how == "resolved"
    ]


@given(values=series, policy=st.sampled_from(NoDataPolicy))
@settings(max_examples=150, deadline=None)
def test_invariants_hold_whatever_happens(values, policy):
    rule = make_rule(no_data=policy)

    history, transitions = play(values, rule)

    for t in transitions:
        if t.change is Change.FIRED:
            since = t.after.run_started_at
            assert since is not None
            assert (t.at - since).total_seconds() >= rule.level(t.severity).for_s
    per_firing = [t.after.firing_number for t in transitions if t.change is Change.RESOLVED]
    assert len(per_firing) == len(set(per_firing))
    notices = [t.after.notice_number for t in transitions if t.notify]
    assert notices == list(range(1, len(notices) + 1))
    for state in history:
        assert (state.phase is Phase.FIRING) <= (state.severity is not None)
        assert (state.severity is not None) <= (state.phase in {Phase.FIRING, Phase.NO_DATA})
