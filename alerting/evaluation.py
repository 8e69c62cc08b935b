"""Evaluation: what the samples say about every rule, as observations of series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerting import rule_groups, run_query
from alerting.observations import Run, Seen, Unseen
from alerting.rules import NoDataPolicy
from alerting.series import Place, Series

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from alerting.observations import Observation
    from alerting.rules import Rule
    from storage.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An observation of a series."""

    place: Place
    observation: Observation


async def evaluate(
    connection: Connection, chosen: Iterable[Rule], live: Collection[Series]
) -> list[Finding]:
    """Look at the samples of every rule on a metric of the catalog.

    Args:
        connection: in the transaction of the cycle, so that `now()` is one moment.
        chosen: enabled rules.
        live: the alerts that are pending, firing or without data.

    Returns:
        A finding for each series that breaches a level, for each one in `live` that has samples,
        and for each that went missing under a rule which says that this is an alert.
    """
    findings: list[Finding] = []
    for group in rule_groups.groups(chosen):
        ids = {rule.id for rule in group.rules}
        servers = {s.server_id for s in live if s.rule_id in ids and s.server_id is not None}
        sql, parameters = run_query.build(group, live_servers=sorted(servers))
        for row in await connection.fetch(sql, *parameters):
            findings += _findings(group, dict(row), live)
    return findings


def _findings(
    group: rule_groups.Group, row: Mapping[str, object], live: Collection[Series]
) -> Iterable[Finding]:
    """Read what one series says to each rule of the group."""
    server_id, server, labels = row["server_id"], row["server"], row["labels"]
    assert isinstance(server_id, int)  # noqa: S101 - for the type checker
    assert isinstance(server, str)  # noqa: S101
    assert isinstance(labels, dict)  # noqa: S101
    for i, rule in enumerate(group.rules):
        if not row[f"on{i}"] or not rule.watches(labels):
            continue
        series = Series.of(rule.id, server_id, labels)
        observation = _observation(rule, i, row)
        is_new = isinstance(observation, Seen) and observation.runs
        is_missing = isinstance(observation, Unseen) and rule.no_data is NoDataPolicy.ALERT
        if is_new or is_missing or series in live:
            yield Finding(place=Place(series=series, server=server), observation=observation)


def _observation(rule: Rule, i: int, row: Mapping[str, object]) -> Observation:
    """Read the columns of one rule."""
    value = row[f"value{i}"]
    if not row[f"fresh{i}"] or not isinstance(value, float):
        return Unseen()
    runs: list[Run] = []
    for j, level in enumerate(rule.levels):
        since, lasted_s = row[f"since{i}_{j}"], row[f"lasted{i}_{j}"]
        if since is not None:
            runs.append(
                Run(severity=level.severity, since=since, lasted_s=lasted_s)  # pyright: ignore[reportArgumentType] - a timestamptz and a float8, both set
            )
    return Seen(value=value, recovered=bool(row[f"recovered{i}"]), runs=tuple(runs))
