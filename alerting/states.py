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
- it is over when a sample is on the good side of the recovery threshold, never for lack of samples;
  with `keep_firing_for`, when the samples have been there for so long.

*Flapping*: an alert that fires for the third time within 30 minutes, its fifth change, is marked
and held firing until it has been well for 15 minutes on end.

Whether people are told is a decision with a reason (`decisions`). A mute (a silence, an inhibition)
keeps a firing from being announced; it is announced when the mute ends and it still fires. What was
announced is also told to be over, muted or not: else somebody's page would stay open for ever.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from alerting.decisions import Decision, Verdict
from alerting.observations import Seen, Unseen, Withdrawn
from alerting.rules import NoDataPolicy

if TYPE_CHECKING:
    from alerting.observations import Observation, Run
    from alerting.rules import Rule, Severity


FLAP_WINDOW = timedelta(minutes=30)
FLAP_CHANGES = 4  # more of them within the window are flapping
FLAP_CALM_S = 900.0


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
    ANNOUNCED = "announced"
    """It fired while it was muted, and is told now."""
    ESCALATED = "escalated"
    REPEATED = "repeated"
    RECOVERING = "recovering"
    """It is well, but held firing for a while."""
    RELAPSED = "relapsed"
    RESOLVED = "resolved"
    NO_DATA = "no_data"
    DATA_RETURNED = "data_returned"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """All that is remembered of an alert; a new one is ok.

    `severity` is that of the open firing, `told_severity` what people last heard of it (None: not
    announced). `firing_number` counts firings and `notice_number` counts what was told, so that
    every notification has a name of its own. `recovered_at` is since when it is well though held
    firing, `flips` are the times of firings and resolutions in the last 30 minutes.
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
    told_severity: Severity | None = None
    recovered_at: datetime | None = None
    escalated_at: datetime | None = None
    cause: str | None = None
    flips: tuple[datetime, ...] = ()
    flapping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change that is recorded; `decision` None is a change that nobody is ever told of.

    `severity` is that of the firing it belongs to, also when this ends it; `after` is the state
    from then on.
    """

    change: Change
    before: Phase
    after: AlertState
    severity: Severity
    decision: Decision | None
    at: datetime

    @property
    def notify(self) -> bool:
        """Whether people are told."""
        return self.decision is not None and self.decision.tells


def step(
    rule: Rule,
    state: AlertState,
    observation: Observation,
    now: datetime,
    mute: Decision | None = None,
) -> tuple[AlertState, tuple[Transition, ...]]:
    """Return the next state and what is to be recorded, in order; nothing changed is `()`.

    Args:
        rule: the rule as it is now.
        state: where the alert stands.
        observation: what was seen.
        now: the time of the cycle.
        mute: why nothing new may be told, where something says so.
    """
    machine = _Machine(rule=rule, now=now, mute=mute)
    match observation:
        case Withdrawn():
            transitions = machine.withdraw(state)
        case Unseen():
            transitions = machine.lose_sight(state, observation)
        case Seen() if state.severity is not None:
            transitions = machine.go_on_firing(state, observation)
        case Seen():
            transitions = machine.watch(state, observation)
    return (transitions[-1].after if transitions else state), transitions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """One step, with what stays the same in it."""

    rule: Rule
    now: datetime
    mute: Decision | None

    def withdraw(self, state: AlertState) -> tuple[Transition, ...]:
        """End what is going on."""
        if state.phase not in LIVE:
            return ()
        announced = state.phase is Phase.NO_DATA and self.rule.no_data is NoDataPolicy.ALERT
        after = _closed(dataclasses.replace(state, phase=Phase.OK, run_started_at=None))
        if state.severity is not None:
            return (self._record(Change.WITHDRAWN, state, after, self._ending(state)),)
        decision = self._news() if announced else None
        return (self._record(Change.WITHDRAWN, state, after, decision),)

    def lose_sight(self, state: AlertState, unseen: Unseen) -> tuple[Transition, ...]:
        """Go to no_data; the policy says whether a firing stays open and who hears of it."""
        is_open = state.severity is not None
        closes = is_open and self.rule.no_data is NoDataPolicy.OK
        announces = self.rule.no_data is NoDataPolicy.ALERT
        if state.phase is Phase.NO_DATA and not closes:
            return ()
        if state.phase not in LIVE and not announces:
            return ()
        after = dataclasses.replace(
            state,
            phase=Phase.NO_DATA,
            cause=unseen.cause.value if unseen.cause else None,
            recovered_at=None,
            run_started_at=state.run_started_at if is_open else None,
        )
        if closes:
            ended = _closed(after)
            return (self._record(Change.NO_DATA, state, ended, self._ending(state)),)
        decision = self._news() if announces else None
        return (self._record(Change.NO_DATA, state, after, decision),)

    def watch(self, state: AlertState, seen: Seen) -> tuple[Transition, ...]:
        """No firing is open: begin one, or wait, or see that all is well."""
        if sustained := _sustained(self.rule, seen):
            flips = (*_recent(state.flips, self.now), self.now)
            after = dataclasses.replace(
                state,
                phase=Phase.FIRING,
                severity=sustained.severity,
                value=seen.value,
                run_started_at=sustained.since,
                fired_at=self.now,
                resolved_at=None,
                acknowledged=False,
                firing_number=state.firing_number + 1,
                told_severity=None,
                recovered_at=None,
                escalated_at=None,
                cause=None,
                flips=flips,
                flapping=len(flips) > FLAP_CHANGES,
            )
            return (self._record(Change.FIRED, state, after, self._news()),)
        quiet = Phase.RESOLVED if state.phase is Phase.RESOLVED else Phase.OK
        phase = Phase.PENDING if seen.runs else quiet
        if phase is state.phase:
            return ()
        since = min((run.since for run in seen.runs), default=None)
        after = dataclasses.replace(
            state, phase=phase, value=seen.value, run_started_at=since, cause=None
        )
        if state.phase is Phase.NO_DATA:
            decision = self._news() if self.rule.no_data is NoDataPolicy.ALERT else None
            return (self._record(Change.DATA_RETURNED, state, after, decision),)
        change = Change.PENDING_STARTED if phase is Phase.PENDING else Change.PENDING_ENDED
        return (self._record(change, state, after, None),)

    def go_on_firing(self, state: AlertState, seen: Seen) -> tuple[Transition, ...]:
        """A firing is open: end it, change its severity, say it again, or leave it."""
        well = not seen.runs and seen.recovered
        if well and (resolved := self._resolve(state, seen)):
            return (resolved,)
        transitions: list[Transition] = []
        current = state
        if state.phase is Phase.NO_DATA:
            back = dataclasses.replace(state, phase=Phase.FIRING, value=seen.value, cause=None)
            decision = self._news() if self.rule.no_data is NoDataPolicy.ALERT else None
            transitions.append(self._record(Change.DATA_RETURNED, state, back, decision))
            current = transitions[-1].after
        if well != (current.recovered_at is not None):
            since = self.now if well else None
            held = dataclasses.replace(current, recovered_at=since, value=seen.value)
            change = Change.RECOVERING if well else Change.RELAPSED
            transitions.append(self._record(change, current, held, None))
            current = transitions[-1].after
        if well:
            return tuple(transitions)
        severity = _severity_now(self.rule, state, seen)
        if severity is not state.severity:
            other = dataclasses.replace(current, severity=severity, value=seen.value)
            transitions.append(self._record(Change.SEVERITY_CHANGED, current, other, self._news()))
        elif not transitions and (change := self._say_again(state)):
            again = dataclasses.replace(
                state,
                value=seen.value,
                escalated_at=self.now if change is Change.ESCALATED else state.escalated_at,
            )
            transitions.append(self._record(change, state, again, self._news()))
        return tuple(transitions)

    def _resolve(self, state: AlertState, seen: Seen) -> Transition | None:
        """End a firing whose samples are well, unless it is held."""
        hold_s = max(self.rule.keep_firing_for_s, FLAP_CALM_S if state.flapping else 0.0)
        since = state.recovered_at or self.now
        if (self.now - since).total_seconds() < hold_s:
            return None
        flips = () if state.flapping else (*_recent(state.flips, self.now), self.now)
        after = dataclasses.replace(
            _closed(state),
            phase=Phase.RESOLVED,
            value=seen.value,
            resolved_at=self.now,
            cause=None,
            flips=flips,
            flapping=False,
        )
        return self._record(Change.RESOLVED, state, after, self._ending(state))

    def _say_again(self, state: AlertState) -> Change | None:
        """Why an open firing is to be spoken of again, where nothing about it has changed."""
        if self.mute is not None:
            return None
        if state.told_severity is not state.severity and not (
            state.acknowledged and state.told_severity is None
        ):
            return Change.ANNOUNCED
        if state.acknowledged:
            return None
        if self._escalates(state):
            return Change.ESCALATED
        if state.notified_at is None:
            return None
        silent_s = (self.now - state.notified_at).total_seconds()
        return Change.REPEATED if silent_s >= self.rule.repeat_interval_s else None

    def _escalates(self, state: AlertState) -> bool:
        """Whether nobody took it on for so long that others are told."""
        after_s = self.rule.escalate_after_s
        if after_s is None or state.escalated_at is not None or state.fired_at is None:
            return False
        return (self.now - state.fired_at).total_seconds() >= after_s

    def _news(self) -> Decision:
        """Decide on what people have not heard yet."""
        return self.mute or Decision(verdict=Verdict.TOLD, reason="nothing mutes it")

    def _ending(self, state: AlertState) -> Decision:
        """Decide on the end of a firing, which whoever heard of its beginning must hear."""
        if state.told_severity is None:
            return Decision(verdict=Verdict.NOT_ANNOUNCED, reason="its beginning had not been told")
        return Decision(verdict=Verdict.TOLD, reason="its beginning was told")

    def _record(
        self, change: Change, state: AlertState, after: AlertState, decision: Decision | None
    ) -> Transition:
        """Record a change, and count it where people are told."""
        if decision is not None and decision.tells:
            after = dataclasses.replace(
                after,
                notified_at=self.now,
                notice_number=state.notice_number + 1,
                told_severity=after.severity,
            )
        severity = after.severity or state.severity or self.rule.levels[0].severity
        return Transition(
            change=change,
            before=state.phase,
            after=after,
            severity=severity,
            decision=decision,
            at=self.now,
        )


def _closed(state: AlertState) -> AlertState:
    """Return the state without an open firing."""
    return dataclasses.replace(state, severity=None, told_severity=None, recovered_at=None)


def _recent(flips: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    """Return the changes that still count."""
    return tuple(each for each in flips if now - each < FLAP_WINDOW)


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
