"""Why an alert fired: the rule's words, the samples that it looked at, and what is to blame."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from alerting import alert_log, evidence, parsing, rules, run_query
from alerting.notifiers import rendering
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

HISTORY_MAX = 200
VALUES_MAX = 500
EVERY = timedelta(microseconds=1)

_FACTS = """
    SELECT r.*, a.server_id AS alert_server_id, f.interval_s
    FROM alert a
    JOIN alert_rule r ON r.id = a.rule_id
    LEFT JOIN family_interval f ON f.server_id = a.server_id AND f.family = $2
    WHERE a.id = $1
"""


async def explain(connection: Connection, alert_id: int) -> dict[str, object] | None:
    """Return an alert with all that is known of it; None where there is none of this number.

    `window` is what the rule looked at when it fired (for one that never fired: looks at now), and
    `values` the samples in it, at most 500, the newest. `course` is the hour before, averaged.
    """
    found = await alert_log.find(connection, alert_log.Filter(alert_id=alert_id, limit=1))
    if not found:
        return None
    (alert,) = found
    metric = cast("str", alert["metric"])
    family = metric.partition(".")[0]
    row = await connection.fetchrow(_FACTS, alert_id, family)
    history = alert_log.Filter(alert_id=alert_id, limit=HISTORY_MAX)
    told: dict[str, object] = {
        **alert,
        "rule_now": None,
        "window": None,
        "values": [],
        "course": [],
        "evidence": [],
        "history": await alert_log.changes(connection, history),
        "deliveries": await alert_log.deliveries(connection, alert_id),
    }
    try:
        rule = parsing.parse({} if row is None else dict(row))
    except rules.InvalidRule:
        return told  # the rest is known all the same
    told["rule_now"] = _words(rule)
    assert row is not None  # noqa: S101 - it was parsed
    at = cast("datetime", alert["fired_at"]) or datetime.now(UTC)
    if row["alert_server_id"] is not None and rule.metric in catalog.METRICS:
        labels = cast("Mapping[str, str | None]", alert["labels"])
        default = run_query.DEFAULT_INTERVALS_S.get(family, run_query.DEFAULT_INTERVAL_S)
        interval_s = row["interval_s"] or default
        begins = cast("datetime", alert["run_started_at"]) or at
        gap = timedelta(seconds=run_query.GAP_INTERVALS * interval_s)
        longest = timedelta(seconds=rule.for_max_s) + gap
        begins = max(min(begins, at), at - longest) - gap  # with what was before the run
        told["window"] = {"from": begins, "to": at, "interval_s": interval_s}
        values = await evidence.series(
            connection,
            metric=rule.metric,
            server_id=row["alert_server_id"],
            labels=labels,
            span=(begins, at),
            step=EVERY,
        )
        told["values"] = values[-VALUES_MAX:]
        more = await evidence.gather(
            connection,
            metric=rule.metric,
            server_id=row["alert_server_id"],
            labels=labels,
            at=at,
        )
        told["course"], told["evidence"] = more.course, more.lines
    return told


def _words(rule: rules.Rule) -> dict[str, object]:
    """Return what the rule says now."""
    unit = rules.unit(rule.metric)
    return {
        "operator": str(rule.operator),
        "levels": [
            {
                "severity": str(level.severity),
                "threshold": level.threshold,
                "for_s": level.for_s,
                "says": f"{rule.operator} {rendering.amount(level.threshold, unit)}"
                + (f" for {rendering.duration(level.for_s)}" if level.for_s else ""),
            }
            for level in rule.levels
        ],
        "recovery": rule.recovery,
        "keep_firing_for_s": rule.keep_firing_for_s,
        "no_data": str(rule.no_data),
        "enabled": rule.enabled,
        "annotations": dict(rule.annotations),
    }
