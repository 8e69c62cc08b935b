"""The state machine, by table and against a slow oracle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting import rules, states
from alerting.decisions import Decision, Verdict
from alerting.rules import NoDataPolicy, Severity
from alerting.states import AlertState, Change, Phase, Run, Seen, Unseen, Withdrawn

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


def observe(values: list[float | None], rule: rules.Rule, index: int) -> states.Observation:
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
        state, changed = states.step(rule, state, observe(values, rule, index), now)
        history.append(state)
        transitions.extend(changed)
    return history, transitions


def test_it_fires_when_the_run_has_lasted_and_is_resolved_beyond_the_recovery_threshold():
    history, transitions = play([50, 85, 85, 85, 85, 75, 65], make_rule())

    assert [s.phase for s in history] == [
        *(Phase.OK, Phase.PENDING, Phase.PENDING, Phase.PENDING),
        *(Phase.FIRING, Phase.FIRING, Phase.RESOLVED),
    ]
    assert [t.change for t in transitions] == [
        *(Change.PENDING_STARTED, Change.FIRED, Change.RESOLVED),
    ]
    assert transitions[1].after.run_started_at == START + timedelta(seconds=10)


def test_a_run_that_ends_too_early_is_forgotten_without_a_word():
    _, transitions = play([85, 85, 85, 60], make_rule())

    assert [(t.change, t.notify) for t in transitions] == [
        (Change.PENDING_STARTED, False),
        (Change.PENDING_ENDED, False),
    ]


def test_critical_replaces_warning_and_gives_way_to_it_without_a_resolved():
    _, transitions = play([85, 85, 85, 85, 99, 99, 85, 60], make_rule())

    assert [(t.change, t.severity) for t in transitions if t.notify] == [
        (Change.FIRED, Severity.WARNING),
        (Change.SEVERITY_CHANGED, Severity.CRITICAL),
        (Change.SEVERITY_CHANGED, Severity.WARNING),
        (Change.RESOLVED, Severity.WARNING),
    ]
    assert {t.after.firing_number for t in transitions if t.notify} == {1}


NO_DATA_CASES = [
    pytest.param(
        NoDataPolicy.KEEP,
        [99, 99, None, None, 60],
        [(Change.FIRED, True), (Change.NO_DATA, False), (Change.RESOLVED, True)],
        id="keep: stays open, silently, until a sample says it is over",
    ),
    pytest.param(
        NoDataPolicy.KEEP,
        [99, 99, None, 99],
        [(Change.FIRED, True), (Change.NO_DATA, False), (Change.DATA_RETURNED, False)],
        id="keep: goes on firing when samples return",
    ),
    pytest.param(
        NoDataPolicy.OK,
        [99, 99, None, None, 60],
        [(Change.FIRED, True), (Change.NO_DATA, True), (Change.DATA_RETURNED, False)],
        id="ok: closed and said, not resolved",
    ),
    pytest.param(
        NoDataPolicy.OK,
        [99, 99, None, 99, 99],
        [
            (Change.FIRED, True),
            (Change.NO_DATA, True),
            (Change.DATA_RETURNED, False),
            (Change.FIRED, True),
        ],
        id="ok: a new firing has to last again",
    ),
    pytest.param(
        NoDataPolicy.ALERT,
        [60, None, None, 60],
        [(Change.NO_DATA, True), (Change.DATA_RETURNED, True)],
        id="alert: missing samples are a message of their own",
    ),
    pytest.param(
        NoDataPolicy.ALERT,
        [99, 99, None, 99],
        [(Change.FIRED, True), (Change.NO_DATA, True), (Change.DATA_RETURNED, True)],
        id="alert: their return is said too",
    ),
    pytest.param(NoDataPolicy.KEEP, [60, None, 60], [], id="keep: all well, nothing to say"),
]


@pytest.mark.parametrize(("policy", "values", "expected"), NO_DATA_CASES)
def test_missing_samples_follow_the_policy_and_never_resolve(policy, values, expected):
    _, transitions = play(values, make_rule(no_data=policy))

    said = [(t.change, t.notify) for t in transitions if t.change is not Change.PENDING_STARTED]
    assert said == expected


def test_a_firing_is_repeated_until_somebody_takes_it_on():
    rule = make_rule(repeat_interval_s=60)
    seen = observe([99, 99], rule, 1)
    state, _ = states.step(rule, AlertState(), seen, START)

    state, early = states.step(rule, state, seen, START + timedelta(seconds=59))
    state, due = states.step(rule, state, seen, START + timedelta(seconds=60))
    state, again = states.step(rule, state, seen, START + timedelta(seconds=61))

    assert (early, again) == ((), ())
    assert [t.change for t in due] == [Change.REPEATED]


def test_an_acknowledged_firing_is_not_repeated():
    rule = make_rule(repeat_interval_s=60)
    state = AlertState(
        phase=Phase.FIRING,
        severity=Severity.CRITICAL,
        fired_at=START,
        notified_at=START,
        acknowledged=True,
    )

    _, transitions = states.step(rule, state, observe([99, 99], rule, 1), START + timedelta(days=1))

    assert transitions == ()


def test_a_new_firing_was_neither_acknowledged_nor_escalated():
    rule = make_rule()
    before = AlertState(
        phase=Phase.RESOLVED, firing_number=1, acknowledged=True, escalated_at=START
    )

    after, _ = states.step(rule, before, observe([99, 99], rule, 1), START + timedelta(hours=1))

    assert (after.firing_number, after.acknowledged, after.escalated_at) == (2, False, None)


@pytest.mark.parametrize(
    ("phase", "severity", "expected"),
    [
        pytest.param(Phase.OK, None, [], id="nothing going on"),
        pytest.param(Phase.RESOLVED, None, [], id="over already"),
        pytest.param(Phase.PENDING, None, [False], id="pending ends silently"),
        pytest.param(Phase.NO_DATA, None, [False], id="no data ends silently"),
        pytest.param(Phase.FIRING, Severity.WARNING, [True], id="a firing is called off"),
        pytest.param(Phase.NO_DATA, Severity.WARNING, [True], id="also one without data"),
    ],
)
def test_what_is_no_longer_watched_is_withdrawn(phase, severity, expected):
    state = AlertState(phase=phase, severity=severity, told_severity=severity, fired_at=START)

    after, transitions = states.step(make_rule(), state, Withdrawn(), START)

    assert [t.notify for t in transitions] == expected
    assert after.severity is None


def test_a_firing_between_the_thresholds_falls_to_the_mildest_level_and_stays():
    history, _ = play([99, 99, 75, 75, 75], make_rule())

    assert history[-1].phase is Phase.FIRING
    assert history[-1].severity is Severity.WARNING


# -- the oracle: no machine, only intervals of the whole series -----------------------------------


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


SILENCED = Decision(verdict=Verdict.SILENCED, reason="silence 1 by ann: deploy")


def play_muted(values: list[float | None], muted: set[int], rule: rules.Rule) -> list:
    """Run the machine over samples, muted at some of them; return (index, change, verdict)."""
    state, told = AlertState(), []
    for index in range(len(values)):
        now = START + timedelta(seconds=TICK_S * index)
        mute = SILENCED if index in muted else None
        state, changed = states.step(rule, state, observe(values, rule, index), now, mute)
        told += [(index, t.change, t.decision.verdict) for t in changed if t.decision is not None]
    return told


def test_what_fires_under_a_silence_is_announced_when_it_ends_and_still_fires():
    told = play_muted([85.0] * 8 + [60.0], set(range(6)), make_rule())

    assert told == [
        (3, Change.FIRED, Verdict.SILENCED),
        (6, Change.ANNOUNCED, Verdict.TOLD),
        (8, Change.RESOLVED, Verdict.TOLD),
    ]


def test_what_began_and_ended_under_a_silence_is_never_told():
    told = play_muted([85.0] * 5 + [60.0] * 3, set(range(6)), make_rule())

    assert told == [
        (3, Change.FIRED, Verdict.SILENCED),
        (5, Change.RESOLVED, Verdict.NOT_ANNOUNCED),
    ]


def test_who_heard_of_a_firing_hears_of_its_end_also_under_a_silence():
    told = play_muted([85.0] * 5 + [60.0] * 3, {4, 5, 6, 7}, make_rule())

    assert told == [(3, Change.FIRED, Verdict.TOLD), (5, Change.RESOLVED, Verdict.TOLD)]


def test_a_worse_severity_under_a_silence_is_told_after_it():
    told = play_muted([85.0] * 4 + [99.0] * 4, {4, 5, 6}, make_rule())

    assert told == [
        (3, Change.FIRED, Verdict.TOLD),
        (5, Change.SEVERITY_CHANGED, Verdict.SILENCED),
        (7, Change.ANNOUNCED, Verdict.TOLD),
    ]


def test_an_alert_is_held_firing_until_it_was_well_for_as_long_as_the_rule_says():
    values = [85.0] * 4 + [60.0, 60.0, 75.0, 60.0, 60.0, 60.0, 60.0]

    _, transitions = play(values, make_rule(keep_firing_for_s=30))

    assert [(t.change, (t.at - START).total_seconds() / TICK_S) for t in transitions] == [
        (Change.PENDING_STARTED, 0),
        (Change.FIRED, 3),
        (Change.RECOVERING, 4),
        (Change.RELAPSED, 6),
        (Change.RECOVERING, 7),
        (Change.RESOLVED, 10),
    ]


def test_the_fifth_change_within_half_an_hour_is_flapping_and_held_until_it_is_calm():
    once = [85.0] * 4 + [60.0]
    history, transitions = play([*once, *once, *once, *([60.0] * 91)], make_rule())

    told = [t.change for t in transitions if t.notify]
    held_s = (transitions[-1].at - transitions[-2].at).total_seconds()
    assert told == [Change.FIRED, Change.RESOLVED] * 3
    assert [s.flapping for s in history].count(True) == 91
    assert (transitions[-2].change, held_s) == (Change.RECOVERING, states.FLAP_CALM_S)
    assert not history[-1].flapping


def test_what_nobody_took_on_is_escalated_once():
    rule = make_rule(escalate_after_s=60, escalate_channels=("pager",))

    _, transitions = play([85.0] * 20, rule)

    told = [(t.change, (t.at - START).total_seconds()) for t in transitions if t.notify]
    assert told == [(Change.FIRED, 30), (Change.ESCALATED, 90)]


def test_the_cause_of_missing_samples_is_remembered_until_they_return():
    rule, state = make_rule(), AlertState(phase=Phase.PENDING)
    state, lost = states.step(rule, state, Unseen(cause=states.Cause.REBOOT), START)
    back, _ = states.step(rule, state, Seen(value=1.0, recovered=True), START)

    assert [t.change for t in lost] == [Change.NO_DATA]
    assert (state.cause, back.cause) == ("reboot", None)
