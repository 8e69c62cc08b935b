"""One cycle: look at everything, decide, and write all of it down in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from alerting import causes, evaluation, liveness, records, states
from alerting import muting as mutes
from alerting.observations import Unseen, Withdrawn
from alerting.rules import OFFLINE_METRIC, Rule
from alerting.work import LIVENESS, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from alerting.evaluation import Finding
    from alerting.liveness import Fleet
    from alerting.series import Series
    from alerting.work import Work
    from storage.database import Connection

# After an outage agents come back within 30 s (their longest backoff) and one interval of at most
# 60 s; until then, missing samples say nothing about the servers.
GRACE = timedelta(seconds=90)
WORK_MEM = "64MB"
LOGGED_MAX = 20  # lines a cycle
PATIENCE_S = 30.0  # without a cycle for so long, nobody listened

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a cycle did."""

    rules: int
    findings: int
    transitions: int
    notifications: int
    invalid: Mapping[str, str]


async def run(
    connection: Connection,
    *,
    patience_s: float = PATIENCE_S,
    database_started_at: datetime | None = None,
    work: Work | None = None,
) -> Report | None:
    """Run one cycle; None when another worker is at it. All or nothing of it is stored.

    Args:
        connection: outside a transaction.
        patience_s: without a cycle for so long, nobody listened, and no silence counts.
        database_started_at: before it nobody could be heard either; None asks the database.
        work: the leased part to do; None: all of it, alone.

    Raises:
        LeaseLost: another worker took the part over.
    """
    beat = records.HEARTBEAT
    if work is not None and work.key != LIVENESS:
        beat = f"{beat} {work.key}"
    async with connection.transaction():
        if work is None and not await records.take_turn(connection):
            return None
        # The runs of a whole fleet in trouble are sorted in memory, not on disk.
        await connection.execute(f"SET LOCAL work_mem = '{WORK_MEM}'")
        last, now = await records.load_heartbeat(
            connection, patience_s=patience_s, database_started_at=database_started_at, key=beat
        )
        chosen, invalid = await records.load_rules(connection)
        if work is not None:
            chosen = [rule for rule in chosen if key_of(rule.metric) == work.key]
        by_id = {rule.id: rule for rule in chosen}
        live = await records.load_live(connection, None if work is None else by_id)
        enabled = [rule for rule in chosen if rule.enabled]
        fleet = await liveness.look_at_fleet(connection, heard_since=last.heard_since)
        # When a stall ends, servers come back one by one: their silence counts from now.
        heard_since = now if last.stalled and not fleet.is_troubled else last.heard_since
        findings = await evaluation.evaluate(
            connection, [rule for rule in enabled if rule.metric != OFFLINE_METRIC], live.keys()
        )
        findings += await liveness.evaluate(
            connection, enabled, live.keys(), fleet, heard_since=heard_since
        )
        findings += _unfound(by_id, live, findings, fleet)
        if now - heard_since < GRACE:
            findings = [f for f in findings if not isinstance(f.observation, Unseen)]
        findings = await _explained(connection, findings, fleet)
        channels = await records.load_channels(connection)
        outcomes = await _decide(connection, by_id, live, findings, now, channels)
        messages = await records.save(connection, outcomes, channels)
        await records.save_heartbeat(
            connection,
            records.Heartbeat(time=now, heard_since=heard_since, stalled=fleet.is_troubled),
            beat,
        )
        if work is not None:
            await work.finish(connection, rules=len(enabled), findings=len(findings))
    _tell(outcomes)
    return Report(
        rules=len(enabled),
        findings=len(findings),
        transitions=sum(len(outcome.transitions) for outcome in outcomes),
        notifications=messages,
        invalid={name: str(error) for name, error in invalid.items()},
    )


async def _explained(
    connection: Connection, findings: list[Finding], fleet: Fleet
) -> list[Finding]:
    """Say why samples are missing, and leave out servers that fell silent together."""
    kept = [
        finding
        for finding in findings
        if not isinstance(finding.observation, Unseen)
        or not (fleet.stalled or finding.place.series.server_id in fleet.lost)
    ]
    missing = {
        finding.place.series.server_id
        for finding in kept
        if isinstance(finding.observation, Unseen)
    }
    if not missing:
        return kept
    known = await causes.load(connection, (each for each in missing if each), fleet.lost)
    return [
        evaluation.Finding(
            place=finding.place,
            observation=Unseen(cause=known.get(finding.place.series.server_id or 0)),
        )
        if isinstance(finding.observation, Unseen)
        else finding
        for finding in kept
    ]


def _unfound(
    by_id: Mapping[int, Rule],
    live: Mapping[Series, records.Alert],
    findings: Iterable[Finding],
    fleet: Fleet,
) -> list[Finding]:
    """Observe the live alerts that no query found: their samples stopped, or nobody watches them.

    An alert whose rule can't be read is left as it is.
    """
    found = {finding.place.series for finding in findings}
    missing: list[Finding] = []
    for series, alert in live.items():
        rule = by_id.get(series.rule_id)
        if series in found or rule is None:
            continue
        if _is_watched(rule, alert):
            lost = fleet.stalled or series.server_id in fleet.lost
            if rule.metric == OFFLINE_METRIC and lost:
                continue  # single servers are not judged meanwhile
            # The offline query returns every server that it knows and that is in `live`.
            gone = rule.metric == OFFLINE_METRIC
        else:
            gone = True
        observation = Withdrawn() if gone else Unseen()
        missing.append(evaluation.Finding(place=alert.place, observation=observation))
    return missing


def _is_watched(rule: Rule, alert: records.Alert) -> bool:
    """Whether an alert's rule still asks for it."""
    if not rule.enabled:
        return False
    if alert.place.series.server_id is None:
        return rule.metric == OFFLINE_METRIC
    if alert.place.server is None or alert.server_labels is None:
        return False  # the server was forgotten
    labels = dict(alert.place.series.labels)
    return rule.selector.matches(alert.place.server, alert.server_labels) and rule.watches(labels)


async def _decide(
    connection: Connection,
    by_id: Mapping[int, Rule],
    live: Mapping[Series, records.Alert],
    findings: Iterable[Finding],
    now: datetime,
    channels: Mapping[str, str],
) -> list[records.Outcome]:
    """Ask the state machine about every finding; keep what changed."""
    pending = list(findings)
    if not pending:
        return []
    known = await records.load_known(
        connection, (f.place for f in pending if f.place.series not in live)
    )
    muting = await mutes.load(connection, now)
    server_labels: Mapping[int, Mapping[str, object]] = {}
    if muting.asks_for_server_labels:
        ids = {f.place.series.server_id for f in pending}
        server_labels = await records.load_server_labels(connection, ids - {None})  # pyright: ignore[reportArgumentType] - None was taken out
    outcomes: list[records.Outcome] = []
    for finding in pending:
        series = finding.place.series
        alert = live.get(series) or known.get(series)
        if alert is None:
            alert = records.Alert(id=None, place=finding.place, state=states.AlertState())
        rule = by_id[series.rule_id]
        labels = server_labels.get(series.server_id or 0, {})
        mute = muting.decide(rule, finding.place, labels)
        _, transitions = states.step(rule, alert.state, finding.observation, now, mute)
        if transitions:
            told = tuple(_audience(rule, each, channels) for each in transitions)
            outcomes.append(
                records.Outcome(alert=alert, rule=rule, transitions=transitions, channels=told)
            )
    return outcomes


def _audience(
    rule: Rule, transition: states.Transition, channels: Iterable[str]
) -> tuple[str, ...]:
    """Return whom a transition is told: who was told before hears the rest as well."""
    if not transition.notify:
        return ()
    usual = {each for each in channels if not rule.channels or each in rule.channels}
    others = {each for each in channels if each in rule.escalate_channels}
    if transition.change is states.Change.ESCALATED:
        return tuple(sorted(others))
    return tuple(sorted(usual | others if transition.after.escalated_at else usual))


def _tell(outcomes: Iterable[records.Outcome]) -> None:
    """Log what people were told of; a bad day is summed up after the first lines."""
    told = [
        (outcome, transition, channels)
        for outcome in outcomes
        for transition, channels in zip(outcome.transitions, outcome.channels, strict=True)
        if transition.notify
    ]
    for outcome, transition, channels in told[:LOGGED_MAX]:
        log.info(
            "alert_changed",
            change=str(transition.change),
            rule=outcome.rule.name,
            server=outcome.alert.place.server,
            labels=dict(outcome.alert.place.series.labels),
            severity=str(transition.severity),
            value=transition.after.value,
            channels=list(channels),
        )
    if (more := len(told) - LOGGED_MAX) > 0:
        log.info("more_alerts_changed", count=more)
