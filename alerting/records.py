"""Rules, alerts, history and outbox in the database: reading and writing them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from alerting import grouping, notifications, parsing, states
from alerting.decisions import Decision, Verdict
from alerting.rules import InvalidRule, Severity
from alerting.series import Place, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from alerting.rules import Rule
    from storage.database import Connection

HEARTBEAT = "alerting.last_cycle"  # a row of `setting`, read by the gateway and by doctor
CYCLE_LOCK = 7_240_005  # any number, the same in every alert worker

_ALERT = """
    SELECT a.id, a.rule_id, a.server_id, a.labels, a.state, a.severity, a.value, a.run_started_at,
           a.fired_at, a.resolved_at, a.notified_at, a.acknowledged_at, a.firing_number,
           a.notice_number, a.told_severity, a.recovered_at, a.escalated_at, a.cause,
           a.flips, a.flapping, s.name AS server, s.labels AS server_labels
    FROM alert a LEFT JOIN server s ON s.id = a.server_id
"""

# One statement for all: ten thousand rows one by one take seconds.
_UPSERT = """
    INSERT INTO alert AS present (
      id, rule_id, server_id, labels, state, severity, value, run_started_at, fired_at,
      resolved_at, notified_at, firing_number, notice_number, told_severity, recovered_at,
      escalated_at, cause, flips, flapping, changed_at)
    SELECT id, rule_id, server_id, labels, state, severity, value, run_started_at, fired_at,
           resolved_at, notified_at, firing_number, notice_number, told_severity, recovered_at,
           escalated_at, cause, flips, flapping, changed_at
    FROM jsonb_populate_recordset(NULL::alert, $1)
    ON CONFLICT (id) DO UPDATE SET
      state = excluded.state, severity = excluded.severity, value = excluded.value,
      run_started_at = excluded.run_started_at, fired_at = excluded.fired_at,
      resolved_at = excluded.resolved_at, notified_at = excluded.notified_at,
      firing_number = excluded.firing_number, notice_number = excluded.notice_number,
      told_severity = excluded.told_severity, recovered_at = excluded.recovered_at,
      escalated_at = excluded.escalated_at, cause = excluded.cause, flips = excluded.flips,
      flapping = excluded.flapping, changed_at = excluded.changed_at,
      acknowledged_at = CASE WHEN present.firing_number = excluded.firing_number
                             THEN present.acknowledged_at END,
      acknowledged_by = CASE WHEN present.firing_number = excluded.firing_number
                             THEN present.acknowledged_by END
"""

_HISTORY_COLUMNS = (
    *("time", "alert_id", "rule_name", "server_id", "labels", "change", "from_state"),
    *("to_state", "severity", "value", "firing_number", "detail"),
)
_NOTIFICATION_COLUMNS = (
    *("created_at", "alert_id", "alert_ids", "queue", "channel", "kind", "dedup_key"),
    *("payload", "next_attempt_at"),
)
ROWS_AT_ONCE = 5_000
_MADE = {"phase", "severity", "told_severity", "acknowledged", "flips"}
_SAME = tuple(f.name for f in dataclasses.fields(states.AlertState) if f.name not in _MADE)
NO_CHANNEL = Decision(verdict=Verdict.NO_CHANNEL, reason="no channel is enabled for it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert as it is stored; `id` None was never stored."""

    id: int | None
    place: Place
    state: states.AlertState
    server_labels: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a cycle decided about one alert, and which channels it tells of each transition."""

    alert: Alert
    rule: Rule
    transitions: tuple[states.Transition, ...]
    channels: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """When a cycle last ran, and since when a silence counts."""

    time: datetime
    heard_since: datetime
    stalled: bool


async def take_turn(connection: Connection) -> bool:
    """Take the lock that makes one worker at a time evaluate, until the transaction ends."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", CYCLE_LOCK))


async def load_rules(connection: Connection) -> tuple[list[Rule], dict[str, InvalidRule]]:
    """Return all rules by name, and those that can't be read with the reason."""
    valid: list[Rule] = []
    invalid: dict[str, InvalidRule] = {}
    for row in await connection.fetch("SELECT * FROM alert_rule ORDER BY name"):
        try:
            valid.append(parsing.parse(dict(row)))
        except InvalidRule as error:
            invalid[row["name"]] = error
    return valid, invalid


async def load_live(
    connection: Connection, rule_ids: Iterable[int] | None = None
) -> dict[Series, Alert]:
    """Return the alerts that are looked at in every cycle, of all rules or of these."""
    rows = await connection.fetch(
        f"{_ALERT} WHERE a.state IN ('pending', 'firing', 'no_data')"  # S608: see states.LIVE
        " AND ($1::int[] IS NULL OR a.rule_id = ANY($1))",
        None if rule_ids is None else list(rule_ids),
    )
    return {alert.place.series: alert for alert in map(_alert, map(dict, rows))}


async def load_known(connection: Connection, wanted: Iterable[Place]) -> dict[Series, Alert]:
    """Return those of the wanted alerts that were stored before."""
    keys = {(p.series.rule_id, p.series.server_id) for p in wanted}
    rows = await connection.fetch(
        f"""
        {_ALERT} JOIN unnest($1::int[], $2::int[]) AS k(rule_id, server_id)
          ON a.rule_id = k.rule_id AND a.server_id IS NOT DISTINCT FROM k.server_id
        """,
        [rule_id for rule_id, _ in keys],
        [server_id for _, server_id in keys],
    )
    return {alert.place.series: alert for alert in map(_alert, map(dict, rows))}


async def load_channels(connection: Connection) -> dict[str, str]:
    """Return the kinds of the channels that are enabled, by name."""
    rows = await connection.fetch("SELECT name, kind FROM channel WHERE enabled ORDER BY name")
    return {row["name"]: row["kind"] for row in rows}


async def load_server_labels(
    connection: Connection, server_ids: Iterable[int]
) -> dict[int, Mapping[str, object]]:
    """Return the labels of servers."""
    rows = await connection.fetch(
        "SELECT id, labels FROM server WHERE id = ANY($1::int[])", list(server_ids)
    )
    return {row["id"]: row["labels"] for row in rows}


async def save(
    connection: Connection, outcomes: Sequence[Outcome], channel_kinds: Mapping[str, str]
) -> int:
    """Store new states, their history and what is to be sent; to be called in a transaction.

    Returns how many messages go out.
    """
    if not outcomes:
        return 0
    new = sum(outcome.alert.id is None for outcome in outcomes)
    fresh_ids = iter(
        await connection.fetch(
            "SELECT nextval(pg_get_serial_sequence('alert', 'id')) AS id"
            " FROM generate_series(1, $1::int)",
            new,
        )
    )
    identified = [
        (outcome, outcome.alert.id or cast("int", next(fresh_ids)["id"])) for outcome in outcomes
    ]
    for first in range(0, len(identified), ROWS_AT_ONCE):
        some = identified[first : first + ROWS_AT_ONCE]
        await connection.execute(_UPSERT, [_alert_row(o, i) for o, i in some])
    await connection.copy_records_to_table(
        "alert_history",
        records=[
            _history_row(o, i, t, channels)
            for o, i in identified
            for t, channels in zip(o.transitions, o.channels, strict=True)
        ],
        columns=_HISTORY_COLUMNS,
    )
    changes = (
        grouping.Change(
            alert_id=i, rule=o.rule, place=o.alert.place, transition=t, channels=channels
        )
        for o, i in identified
        for t, channels in zip(o.transitions, o.channels, strict=True)
    )
    messages = grouping.messages(changes, channel_kinds)
    await connection.copy_records_to_table(
        "notification", records=map(_notification_row, messages), columns=_NOTIFICATION_COLUMNS
    )
    return len(messages)


async def load_heartbeat(
    connection: Connection,
    *,
    patience_s: float,
    database_started_at: datetime | None = None,
    key: str = HEARTBEAT,
) -> tuple[Heartbeat, datetime]:
    """Return the last cycle's heartbeat, and since when a silence counts now.

    Nobody could be heard while the database was away, or while no worker listened for longer than
    `patience_s`: then silence counts from this moment. `database_started_at` None asks it.
    """
    row = await connection.fetchrow(
        """
        WITH last AS (
          SELECT (value ->> 'time')::timestamptz AS time,
                 (value ->> 'heard_since')::timestamptz AS heard_since,
                 (value ->> 'stalled')::boolean AS stalled
          FROM setting WHERE key = $1
        )
        SELECT now() AS now, last.time, last.stalled,
               CASE WHEN last.time > now() - make_interval(secs => $2)
                    THEN greatest(last.heard_since, coalesce($3, pg_postmaster_start_time()))
                    ELSE now() END AS heard_since
        FROM (SELECT) one LEFT JOIN last ON true
        """,
        key,
        patience_s,
        database_started_at,
    )
    assert row is not None  # noqa: S101 - one row by construction
    now = row["now"]
    heard_since = row["heard_since"]
    return (
        Heartbeat(time=row["time"] or now, heard_since=heard_since, stalled=bool(row["stalled"])),
        now,
    )


async def save_heartbeat(
    connection: Connection, heartbeat: Heartbeat, key: str = HEARTBEAT
) -> None:
    """Say that a cycle ran."""
    await connection.execute(
        "INSERT INTO setting (key, value) VALUES ($1, $2)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        key,
        {
            "time": heartbeat.time.isoformat(),
            "heard_since": heartbeat.heard_since.isoformat(),
            "stalled": heartbeat.stalled,
        },
    )


def _alert(row: Mapping[str, object]) -> Alert:
    """Make an alert of a row."""
    known = {key: row[key] for key in _SAME}
    state = states.AlertState(
        phase=states.Phase(cast("str", row["state"])),
        severity=_severity(row["severity"]),
        told_severity=_severity(row["told_severity"]),
        acknowledged=row["acknowledged_at"] is not None,
        flips=tuple(cast("list[datetime]", row["flips"])),
        **known,  # pyright: ignore[reportArgumentType] - columns of the same names and types
    )
    series = Series.of(
        cast("int", row["rule_id"]),
        cast("int | None", row["server_id"]),
        cast("dict[str, str | None]", row["labels"]),
    )
    return Alert(
        id=cast("int", row["id"]),
        place=Place(series=series, server=cast("str | None", row["server"])),
        state=state,
        server_labels=cast("dict[str, object] | None", row["server_labels"]),
    )


def _severity(value: object) -> Severity | None:
    return Severity(cast("str", value)) if value else None


def _alert_row(outcome: Outcome, alert_id: int) -> dict[str, object]:
    """Return the alert's row as JSON."""
    series, last = outcome.alert.place.series, outcome.transitions[-1]
    state = last.after
    value = state.value if state.value is not None and math.isfinite(state.value) else None
    return {
        "id": alert_id,
        "rule_id": series.rule_id,
        "server_id": series.server_id,
        "labels": dict(series.labels),
        "state": state.phase,
        "severity": state.severity,
        "value": value,
        "run_started_at": _json_time(state.run_started_at),
        "fired_at": _json_time(state.fired_at),
        "resolved_at": _json_time(state.resolved_at),
        "notified_at": _json_time(state.notified_at),
        "firing_number": state.firing_number,
        "notice_number": state.notice_number,
        "told_severity": state.told_severity,
        "recovered_at": _json_time(state.recovered_at),
        "escalated_at": _json_time(state.escalated_at),
        "cause": state.cause,
        "flips": [each.isoformat() for each in state.flips],
        "flapping": state.flapping,
        "changed_at": last.at.isoformat(),
    }


def _json_time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _history_row(
    outcome: Outcome, alert_id: int, transition: states.Transition, channels: tuple[str, ...]
) -> tuple[object, ...]:
    series, after = outcome.alert.place.series, transition.after
    level = outcome.rule.level(transition.severity)
    detail: dict[str, object] = {
        "threshold": level.threshold,
        "for_s": level.for_s,
        "notified": list(channels),
    }
    if transition.decision is not None:
        decision = transition.decision
        if decision.tells and not channels:
            decision = NO_CHANNEL
        detail["decision"] = str(decision.verdict)
        detail["reason"] = decision.reason
    if after.cause is not None:
        detail["cause"] = after.cause
    if after.flapping:
        detail["flapping"] = True
    return (
        *(transition.at, alert_id, outcome.rule.name, series.server_id, dict(series.labels)),
        *(transition.change, transition.before, after.phase, transition.severity),
        *(after.value, after.firing_number, detail),
    )


def _notification_row(message: grouping.Message) -> tuple[object, ...]:
    told = message.notification
    return (
        *(message.at, message.alert_ids[0], message.alert_ids, message.queue, message.channel),
        *(told.kind, told.dedup_key, notifications.to_json(told), message.at),
    )
