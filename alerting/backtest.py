"""What a rule would have done: its firings in the past, and those of other thresholds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from alerting import history_query, rule_groups, rules
from alerting.history_query import Bound
from hostpulse import errors
from hostpulse.numbers import finite
from storage import catalog, retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from storage.database import Connection

SERVERS_AT_ONCE = 50
SINCE_MAX_S = 366 * 86_400
THRESHOLDS_MAX = 10
MINUTE = timedelta(minutes=1)
PERCENT_STEPS = (-10.0, -5.0, 5.0, 10.0)
FACTORS = (0.75, 0.9, 1.1, 1.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A firing that would have been; `ended_at` None: it was open when the range ended."""

    server_id: int
    server: str
    labels: Mapping[str, str | None]
    severity: rules.Severity
    fired_at: datetime
    ended_at: datetime | None
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one threshold of the mildest level gives.

    Where minutes stand in for samples, `firings` and `lasted_s` are the least that can have been;
    `is_exact` where the most is the same, to a minute.
    """

    threshold: float
    firings: int
    lasted_s: float
    servers: int
    firings_at_most: int
    lasted_at_most_s: float
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a rule would have done in a range.

    `begins_at` is the oldest sample that was there; None: there was none. Before `raw_from` minutes
    stand in for samples; None: nowhere.
    """

    rule: rules.Rule
    start: datetime
    end: datetime
    begins_at: datetime | None
    raw_from: datetime | None
    servers: int
    episodes: tuple[Episode, ...]
    trials: tuple[Trial, ...]

    @property
    def is_exact(self) -> bool:
        """Whether the rule as it is has an exact answer."""
        own = self.rule.levels[0].threshold
        return all(trial.is_exact for trial in self.trials if trial.threshold == own)


async def run(
    connection: Connection,
    rule: rules.Rule,
    *,
    start: datetime,
    end: datetime,
    thresholds: Sequence[float] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """Look at all servers of a rule, a batch at a time, with its threshold and others.

    Args:
        connection: outside a transaction.
        rule: need not be stored.
        start: where to begin.
        end: where to end, excluded.
        thresholds: others to try; None takes a few around the rule's own.
        progress: told how many steps are done, of how many.

    Raises:
        ConfigError: the rule is not about samples.
    """
    if not history_query.metric_is_stored(rule.metric):
        expectation = "about samples: silence is not stored"
        raise errors.ConfigError("rule", expectation=expectation, value=rule.metric)
    rows = await connection.fetch("SELECT id FROM server ORDER BY id")
    ids = [int(row["id"]) for row in rows]
    batches = [ids[i : i + SERVERS_AT_ONCE] for i in range(0, len(ids), SERVERS_AT_ONCE)]
    others = other_thresholds(rule) if thresholds is None else thresholds
    own = rule.levels[0].threshold
    # The easiest first: a server that does not fire there can't fire at a harder one.
    tried = sorted({own, *others}, reverse=not rule.operator.upward)
    variants = [rule if each == own else _with_threshold(rule, each) for each in tried]
    raw_from = await _raw_from(connection, rule, start, end)
    least: list[list[Episode]] = [[] for _ in variants]
    most: list[list[Episode]] = [[] for _ in variants]
    begins_at: datetime | None = None
    for done, batch in enumerate(batches):
        begins_at = _earlier(
            begins_at, await _first_sample(connection, rule, batch, start, raw_from, end)
        )
        firing: Sequence[int] = batch
        for n, variant in enumerate(variants):
            progress(done * len(variants) + n, len(batches) * len(variants))
            if not firing:
                continue
            look = partial(
                find, connection, variant, servers=firing, start=start, end=end, raw_from=raw_from
            )
            upper = await look(bound=Bound.MOST)
            lower = upper if raw_from is None else await look(bound=Bound.LEAST)
            most[n] += upper
            least[n] += lower
            firing = sorted({each.server_id for each in upper})
    progress(len(batches) * len(variants), len(batches) * len(variants))
    trials = [_trial(*each, end) for each in zip(variants, least, most, strict=True)]
    return Report(
        rule=rule,
        start=start,
        end=end,
        begins_at=begins_at,
        raw_from=raw_from,
        servers=len(ids),
        episodes=tuple(sorted(least[tried.index(own)], key=lambda each: each.fired_at)),
        trials=tuple(sorted(trials, key=lambda trial: trial.threshold)),
    )


async def _raw_from(
    connection: Connection, rule: rules.Rule, start: datetime, end: datetime
) -> datetime | None:
    """Find out where raw samples begin to be kept, if after the start of the range."""
    kept = await retention.read(connection)
    whole = (end - kept.raw).replace(second=0, microsecond=0) + timedelta(minutes=1)
    return whole if start < whole and history_query.has_minutes(rule.metric) else None


async def find(
    connection: Connection,
    rule: rules.Rule,
    *,
    servers: Sequence[int],
    start: datetime,
    end: datetime,
    raw_from: datetime | None = None,
    bound: Bound = Bound.LEAST,
) -> list[Episode]:
    """Return the firings of a rule in the stored samples of servers, in the order of time.

    Exact to one interval: a firing is put at the beginning of its run plus `for`, and ends with the
    first sample that is well, plus `keep_firing_for`. Flap damping and silences are left out.
    """
    (group,) = rule_groups.groups([rule])
    span = history_query.Span(start=start, end=end, raw_from=raw_from)
    sql, parameters = history_query.build(group, servers=servers, span=span, bound=bound)
    rows = await connection.fetch(sql, *parameters)
    return merge([_episode(rule, dict(row)) for row in rows])


def merge(episodes: Iterable[Episode]) -> list[Episode]:
    """Join what overlaps in a series: one firing, of its worst severity."""
    merged: list[Episode] = []
    last: dict[tuple[int, tuple[tuple[str, str | None], ...]], int] = {}
    for episode in sorted(episodes, key=lambda e: (e.fired_at, -e.severity.rank)):
        series = (episode.server_id, tuple(sorted(episode.labels.items())))
        index = last.get(series)
        before = None if index is None else merged[index]
        if (
            before is None
            or index is None
            or (before.ended_at is not None and before.ended_at <= episode.fired_at)
        ):
            last[series] = len(merged)
            merged.append(episode)
            continue
        is_worse = episode.severity.rank > before.severity.rank
        ends = None
        if before.ended_at is not None and episode.ended_at is not None:
            ends = max(before.ended_at, episode.ended_at)
        merged[index] = dataclasses.replace(
            before,
            ended_at=ends,
            severity=episode.severity if is_worse else before.severity,
            value=episode.value if is_worse else before.value,
        )
    return merged


def other_thresholds(rule: rules.Rule) -> list[float]:
    """Return a few thresholds of the mildest level that are worth a try."""
    now = rule.levels[0].threshold
    if catalog.find_metric(rule.metric).unit == "percent":
        return [now + step for step in PERCENT_STEPS if 0 < now + step < 100]
    return [near for factor in FACTORS if now and math.isfinite(near := now * factor)]


def read_thresholds(raw: object) -> list[float]:
    """Read thresholds to try.

    Raises:
        ConfigError: they are none.
    """
    expectation = f"a list of at most {THRESHOLDS_MAX} finite numbers"
    if not isinstance(raw, list) or len(cast("list[object]", raw)) > THRESHOLDS_MAX:
        raise errors.ConfigError("thresholds", expectation=expectation, value=raw)
    chosen: set[float] = set()
    for each in cast("list[object]", raw):
        if (number := finite(each)) is None:
            raise errors.ConfigError("thresholds", expectation=expectation, value=each)
        chosen.add(number)
    return sorted(chosen)


def _with_threshold(rule: rules.Rule, threshold: float) -> rules.Rule:
    """Return the rule with another mildest threshold; the worse level gives way."""
    mildest, *others = rule.levels
    upward = rule.operator.upward
    kept = [e for e in others if (e.threshold >= threshold) == upward or e.threshold == threshold]
    recovery = rule.recovery_threshold
    if recovery is not None:
        recovery = min(recovery, threshold) if upward else max(recovery, threshold)
    return dataclasses.replace(
        rule,
        levels=(dataclasses.replace(mildest, threshold=threshold), *kept),
        recovery_threshold=recovery,
    )


def _episode(rule: rules.Rule, row: Mapping[str, object]) -> Episode:
    """Make the firing of one run."""
    level = rule.levels[int(str(row["level"]))]
    well_at, since = row["well_at"], row["since"]
    keep = timedelta(seconds=rule.keep_firing_for_s)
    return Episode(
        server_id=row["server_id"],  # pyright: ignore[reportArgumentType] - columns of these types
        server=row["server"],  # pyright: ignore[reportArgumentType]
        labels=row["labels"],  # pyright: ignore[reportArgumentType]
        severity=level.severity,
        fired_at=since + timedelta(seconds=level.for_s),  # pyright: ignore[reportOperatorIssue]
        ended_at=None if well_at is None else well_at + keep,  # pyright: ignore[reportOperatorIssue]
        value=row["value"],  # pyright: ignore[reportArgumentType]
    )


async def _first_sample(
    connection: Connection,
    rule: rules.Rule,
    servers: Sequence[int],
    start: datetime,
    raw_from: datetime | None,
    end: datetime,
) -> datetime | None:
    """Return the oldest sample of a batch, found along the index."""
    table = catalog.find_metric(rule.metric).table.name
    sources = [(table, raw_from or start, end)]
    if raw_from is not None:
        sources.insert(0, (f"{table}_1m", start, raw_from))
    for source, begin, until in sources:
        first = await connection.fetchval(
            f"""
            SELECT min(x.time) FROM unnest($1::int[]) AS s(id) CROSS JOIN LATERAL (
              SELECT m.time FROM {source} m
              WHERE m.server_id = s.id AND m.time >= $2 AND m.time < $3 ORDER BY m.time LIMIT 1
            ) x
            """,  # noqa: S608 - a name of the catalog
            servers,
            begin,
            until,
        )
        if first is not None:
            return first
    return None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _trial(
    rule: rules.Rule, least: Sequence[Episode], most: Sequence[Episode], end: datetime
) -> Trial:
    """Sum up what a threshold gives, at least and at most."""
    lasted_s, lasted_at_most_s = (
        sum(max(0.0, ((each.ended_at or end) - each.fired_at).total_seconds()) for each in found)
        for found in (least, most)
    )
    return Trial(
        threshold=rule.levels[0].threshold,
        firings=len(least),
        lasted_s=lasted_s,
        servers=len({each.server_id for each in least}),
        firings_at_most=max(len(least), len(most)),
        lasted_at_most_s=max(lasted_s, lasted_at_most_s),
        is_exact=_agree(least, most, end),
    )


def _agree(least: Sequence[Episode], most: Sequence[Episode], end: datetime) -> bool:
    """Whether both bounds say the same, to a minute."""
    if len(least) != len(most):
        return False
    one, other = (
        sorted(found, key=lambda e: (e.server_id, sorted(e.labels.items()), e.fired_at))
        for found in (least, most)
    )
    return all(
        (a.server_id, a.labels, a.severity) == (b.server_id, b.labels, b.severity)
        and abs(a.fired_at - b.fired_at) <= MINUTE
        and abs((a.ended_at or end) - (b.ended_at or end)) <= MINUTE
        for a, b in zip(one, other, strict=True)
    )


def to_json(report: Report, *, episodes_max: int | None = None) -> dict[str, object]:
    """Return a report for programs, with the newest of its episodes."""
    shown = report.episodes if episodes_max is None else report.episodes[-episodes_max:]
    return {
        "rule": report.rule.name,
        "tier": "raw" if report.raw_from is None else "1m, raw",
        "raw_from": report.raw_from,
        "is_exact": report.is_exact,
        "from": report.start,
        "to": report.end,
        "begins_at": report.begins_at,
        "servers": report.servers,
        "trials": [dataclasses.asdict(each) for each in report.trials],
        "episode_count": len(report.episodes),
        "episodes": [dataclasses.asdict(each) for each in shown],
    }
