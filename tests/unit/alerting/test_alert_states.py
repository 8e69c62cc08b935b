"""The state machine, by table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from alerting import states
from alerting.decisions import Decision, Verdict
from alerting.observations import Cause, Seen, Unseen, Withdrawn
from alerting.rules import NoDataPolicy, Severity
from alerting.states import AlertState, Change, Phase
from tests.alert_player import START, TICK_S, make_rule, observe, play

if TYPE_CHECKING:
    from alerting.rules import Rule


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


SILENCED = Decision(verdict=Verdict.SILENCED, reason="silence 1 by ann: deploy")


def play_muted(values: list[float | None], muted: set[int], rule: Rule) -> list:
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
    state, lost = states.step(rule, state, Unseen(cause=Cause.REBOOT), START)
    back, _ = states.step(rule, state, Seen(value=1.0, recovered=True), START)

    assert [t.change for t in lost] == [Change.NO_DATA]
    assert (state.cause, back.cause) == ("reboot", None)
