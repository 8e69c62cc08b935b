"""What becomes of an alert: a pure function of its state, what was seen, and the time.

             a level breaches          it lasted `for`             recovered
    ok ───────────────────▶ pending ──────────────────▶ firing ──────────────▶ resolved
     ▲ ◀──────────────────────┘ │                        │  ▲                    │ (as ok)
     │        the run ended     │ samples stop           ▼  │ samples return
     └──────────────────────────┴────────────────────▶ no_data

A firing is *open* from `fired` until it is resolved, withdrawn, or closed for want of data; it is
open exactly while the state has a severity. Within an open firing:

- a worse level takes over once it was sustained for its own `for`;
- a milder level takes over as soon as the worse one no longer breaches, without a `for`: that was
  served when the firing began, and a "resolved" in between would be false;
- it is over when a sample is on the good side of the recovery threshold, never for lack of samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from alerting.rules import NoDataPolicy

if TYPE_CHECKING:
    from alerting.rules import Rule, Severity


class Phase(StrEnum):
    """Where an alert stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    NO_DATA = "no_data"
    RESOLVED = "resolved"


LIVE = (Phase.PENDING, Phase.FIRING, Phase.NO_DATA)  # looked at in every cycle


class Change(StrEnum):
    """What happened to an alert."""

    PENDING_STARTED = "pending_started"
    PENDING_ENDED = "pending_ended"
    FIRED = "fired"
    SEVERITY_CHANGED = "severity_changed"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    NO_DATA = "no_data"
    DATA_RETURNED = "data_returned"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An unbroken series of samples that breach a level, up to the newest one."""

    severity: Severity
    since: datetime
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """There are fresh samples. `runs` holds the levels that the newest one breaches."""

    value: float
    recovered: bool
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The newest sample is too old to say anything, or there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The rule no longer watches this: it was disabled or edited, or the server is gone."""


Observation = Seen | Unseen | Withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """All that is remembered of an alert; a new one is ok.

    `severity` is that of the open firing. `firing_number` counts firings and `notice_number`
    counts what was announced, so that every notification has a name of its own.
    """

    phase: Phase = Phase.OK
    severity: Severity | None = None
    value: float | None = None
    run_started_at: datetime | None = None
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    notified_at: datetime | None = None
    acknowledged: bool = False
    firing_number: int = 0
    notice_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change that is recorded; `notify` says whether people are told.

    `severity` is that of the firing it belongs to, also when this ends it; `after` is the state
    from then on.
    """

    change: Change
    before: Phase
    after: AlertState
    severity: Severity
    notify: bool
    at: datetime


def step(
    rule: Rule, state: AlertState, observation: Observation, now: datetime
) -> tuple[AlertState, tuple[Transition, ...]]:
    """Return the next state and what is to be recorded, in order; nothing changed is `()`."""
    match observation:
        case Withdrawn():
            transitions = _withdraw(rule, state, now)
        case Unseen():
            transitions = _lose_sight(rule, state, now)
        case Seen() if state.severity is not None:
            transitions = _go_on_firing(rule, state, observation, now)
        case Seen():
            transitions = _watch(rule, state, observation, now)
    return (transitions[-1].after if transitions else state), transitions


def _withdraw(rule: Rule, state: AlertState, now: datetime) -> tuple[Transition, ...]:
    """End what is going on."""
    if state.phase not in LIVE:
        return ()
    announced = state.phase is Phase.NO_DATA and rule.no_data is NoDataPolicy.ALERT
    after = dataclasses.replace(state, phase=Phase.OK, severity=None, run_started_at=None)
    notify = announced or state.severity is not None
    return (_transition(rule, Change.WITHDRAWN, state, after, now, notify=notify),)


def _lose_sight(rule: Rule, state: AlertState, now: datetime) -> tuple[Transition, ...]:
    """Go to no_data; the policy says whether a firing stays open and who hears of it."""
    is_open = state.severity is not None
    closes = is_open and rule.no_data is NoDataPolicy.OK
    announces = rule.no_data is NoDataPolicy.ALERT
    if state.phase is Phase.NO_DATA and not closes:
        return ()
    if state.phase not in LIVE and not announces:
        return ()
    after = dataclasses.replace(
        state,
        phase=Phase.NO_DATA,
        severity=None if closes else state.severity,
        run_started_at=state.run_started_at if is_open else None,
    )
    notify = closes or announces
    return (_transition(rule, Change.NO_DATA, state, after, now, notify=notify),)


def _watch(rule: Rule, state: AlertState, seen: Seen, now: datetime) -> tuple[Transition, ...]:
    """No firing is open: begin one, or wait, or see that all is well."""
    if sustained := _sustained(rule, seen):
        after = dataclasses.replace(
            state,
            phase=Phase.FIRING,
            severity=sustained.severity,
            value=seen.value,
            run_started_at=sustained.since,
            fired_at=now,
            resolved_at=None,
            acknowledged=False,
            firing_number=state.firing_number + 1,
        )
        return (_transition(rule, Change.FIRED, state, after, now, notify=True),)
    quiet = Phase.RESOLVED if state.phase is Phase.RESOLVED else Phase.OK
    phase = Phase.PENDING if seen.runs else quiet
    if phase is state.phase:
        return ()
    since = min((run.since for run in seen.runs), default=None)
    after = dataclasses.replace(state, phase=phase, value=seen.value, run_started_at=since)
    if state.phase is Phase.NO_DATA:
        notify = rule.no_data is NoDataPolicy.ALERT
        return (_transition(rule, Change.DATA_RETURNED, state, after, now, notify=notify),)
    change = Change.PENDING_STARTED if phase is Phase.PENDING else Change.PENDING_ENDED
    return (_transition(rule, change, state, after, now, notify=False),)


def _go_on_firing(
    rule: Rule, state: AlertState, seen: Seen, now: datetime
) -> tuple[Transition, ...]:
    """A firing is open: end it, change its severity, say it again, or leave it."""
    if not seen.runs and seen.recovered:
        after = dataclasses.replace(
            state, phase=Phase.RESOLVED, severity=None, value=seen.value, resolved_at=now
        )
        return (_transition(rule, Change.RESOLVED, state, after, now, notify=True),)
    transitions: list[Transition] = []
    if state.phase is Phase.NO_DATA:
        back = dataclasses.replace(state, phase=Phase.FIRING, value=seen.value)
        notify = rule.no_data is NoDataPolicy.ALERT
        transitions.append(_transition(rule, Change.DATA_RETURNED, state, back, now, notify=notify))
    current = transitions[-1].after if transitions else state
    severity = _severity_now(rule, state, seen)
    if severity is not state.severity:
        other = dataclasses.replace(current, severity=severity, value=seen.value)
        transitions.append(
            _transition(rule, Change.SEVERITY_CHANGED, current, other, now, notify=True)
        )
    elif not transitions and _repeat_is_due(rule, state, now):
        again = dataclasses.replace(state, value=seen.value)
        transitions.append(_transition(rule, Change.REPEATED, state, again, now, notify=True))
    return tuple(transitions)


def _sustained(rule: Rule, seen: Seen) -> Run | None:
    """Return the worst run that lasted as long as its level asks."""
    needed = {level.severity: level.for_s for level in rule.levels}
    lasting = [run for run in seen.runs if run.lasted_s >= needed[run.severity]]
    return max(lasting, key=lambda run: run.severity.rank, default=None)


def _severity_now(rule: Rule, state: AlertState, seen: Seen) -> Severity:
    """Return the severity that an open firing has at this sample."""
    assert state.severity is not None  # noqa: S101 - the caller asked
    sustained = _sustained(rule, seen)
    if sustained and sustained.severity.rank > state.severity.rank:
        return sustained.severity
    mildest = rule.levels[0].severity
    breaching = max((run.severity for run in seen.runs), key=lambda s: s.rank, default=mildest)
    return min(state.severity, breaching, key=lambda s: s.rank)


def _repeat_is_due(rule: Rule, state: AlertState, now: datetime) -> bool:
    """Whether nobody took it on and it was last said long enough ago."""
    if state.acknowledged or state.notified_at is None:
        return False
    return now - state.notified_at >= timedelta(seconds=rule.repeat_interval_s)


def _transition(
    rule: Rule, change: Change, state: AlertState, after: AlertState, now: datetime, *, notify: bool
) -> Transition:
    """Record a change and count it if it is announced."""
    if notify:
        after = dataclasses.replace(after, notified_at=now, notice_number=state.notice_number + 1)
    severity = after.severity or state.severity or rule.levels[0].severity
    return Transition(
        change=change, before=state.phase, after=after, severity=severity, notify=notify, at=now
    )
