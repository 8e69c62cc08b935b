"""The SQL that finds past runs: what a rule would have said of samples that are stored.

The same samples breach, break a run and recover as in `run_query`; only that every run of the range
is wanted, not the one that ends at the newest sample.

Where raw samples are gone, minutes stand in for them, each as one sample that lasts a minute. What
it says depends on which of its values is taken: with the mildest, it breaches only if all of its
samples did, and the answer is the least that can have been; with the worst, it breaches if any of
them did, and the answer is the most. Where both agree, that is what was.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from alerting import run_query
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from alerting.rule_groups import Group

MINUTE_S = 60


class Bound(StrEnum):
    """Which value of a minute stands for it."""

    LEAST = "least"
    MOST = "most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`[start, end)`; before `raw_from` minutes stand in for samples (None: nowhere)."""

    start: datetime
    end: datetime
    raw_from: datetime | None = None


def build(
    group: Group, *, servers: Sequence[int], span: Span, bound: Bound = Bound.LEAST
) -> tuple[str, list[object]]:
    """Return the statement and its parameters for the one rule of a group.

    Each row is a run that lasted its level's `for`: server_id, server, labels, level (the index of
    it), since, until (its last sample), well_at (the first sample after it on the good side of the
    recovery threshold; NULL where there is none) and value, the worst of the run.
    """
    return _HistoryBuilder(group, servers, span, bound).statement()


class _HistoryBuilder(run_query.Builder):
    """Collects the parts of one statement."""

    def __init__(self, group: Group, servers: Sequence[int], span: Span, bound: Bound) -> None:
        super().__init__(group, servers)
        (self._rule,) = group.rules
        self._start = self._parameters.add(span.start)
        self._end = self._parameters.add(span.end)
        has_minutes = span.raw_from is not None and span.raw_from > span.start
        self._raw_from = self._parameters.add(span.raw_from) if has_minutes else None
        self._value = "mild" if bound is Bound.LEAST else "worst"

    def statement(self) -> tuple[str, list[object]]:
        """Put the parts together."""
        keys = "".join(f", k{n}" for n in range(len(self._labels)))
        levels = range(len(self._rule.levels))
        runs = " UNION ALL ".join(self._runs(j, keys) for j in levels)
        sql = f"""
            WITH watched AS MATERIALIZED ({self._watched_servers()}),
            sample AS ({self._samples()}),
            marked AS ({self._marked(keys)}),
            numbered AS MATERIALIZED ({self._numbered(keys)}),
            r AS ({runs})
            SELECT w.id AS server_id, w.name AS server, {self._labels_object()} AS labels,
                   r.level, r.since, r.until, r.well_at, r.value
            FROM r JOIN watched w ON w.id = r.server_id
            ORDER BY w.id, labels, r.since
        """  # noqa: S608
        return sql, self._parameters.values

    def _watched_servers(self) -> str:
        """The servers of the batch that the rule chooses, with the interval of their samples."""
        name = self._group.table.name
        default = self._parameters.add(
            run_query.DEFAULT_INTERVALS_S.get(name, run_query.DEFAULT_INTERVAL_S)
        )
        return f"""
            SELECT s.id, s.name, i.interval_s, {run_query.former()} AS former_s,
                   f.updated_at AS changed
            FROM server s
            LEFT JOIN family_interval f
              ON f.server_id = s.id AND f.family = {self._parameters.add(name)}
            CROSS JOIN LATERAL (SELECT {run_query.interval(default)} AS interval_s) i
            WHERE s.id = ANY({self._live}::int[]) AND {self._selects(self._rule.selector)}
        """  # noqa: S608

    def _samples(self) -> str:
        """The range's samples, server by server along the index."""
        parts = [self._raw()] if self._raw_from is None else [self._minutes(), self._raw()]
        return f"""
            SELECT w.id AS server_id, w.interval_s, w.former_s, w.changed, x.*
            FROM watched w CROSS JOIN LATERAL ({" UNION ALL ".join(parts)} OFFSET 0) x
        """  # noqa: S608

    def _raw(self) -> str:
        """Samples as they came."""
        value = self._source(self._rule)
        begin = self._start if self._raw_from is None else self._raw_from
        return f"""
            SELECT {self._keys()} m.time, m.time AS last, {value} AS mild, {value} AS worst
            FROM {self._from()}
            WHERE m.server_id = w.id AND m.time >= {begin} AND m.time < {self._end}
              {self._label_condition(self._rule)}
        """  # noqa: S608

    def _minutes(self) -> str:
        """Minutes, each with its extremes and the time of its last sample."""
        column = catalog.find_metric(self._rule.metric).column.name
        source, low, high = f"{self._group.table.name}_1m m", f"m.{column}_min", f"m.{column}_max"
        if self._group.element is not None:
            low, high = "nullif(e.low, 'NaN')", "nullif(e.high, 'NaN')"
            source += (
                f" CROSS JOIN LATERAL unnest(m.{column}_min, m.{column}_max)"
                " WITH ORDINALITY AS e(low, high, number)"
            )
        mild, worst = (low, high) if self._rule.operator.upward else (high, low)
        return f"""
            SELECT {self._keys()} m.time,
                   m.time + make_interval(secs => {MINUTE_S} - w.interval_s) AS last,
                   {mild} AS mild, {worst} AS worst
            FROM {source}
            WHERE m.server_id = w.id AND m.time >= {self._start} AND m.time < {self._raw_from}
              {self._label_condition(self._rule)}
        """  # noqa: S608

    def _keys(self) -> str:
        """The labels of a series."""
        return "".join(f"{sql} AS k{n}, " for n, sql in enumerate(self._labels.values()))

    def _marked(self, keys: str) -> str:
        """What each sample says, and what came before and after it."""
        rule = self._rule
        breaches = ", ".join(
            f"({self._breaches(rule, level.threshold, self._value)}) IS TRUE AS bad{j}"
            for j, level in enumerate(rule.levels)
        )
        well = f"({self._breaches(rule, rule.recovery, self._value)}) IS FALSE"
        return f"""
            SELECT *, {breaches},
                   time - lag(last) OVER forth > {run_query.gap("lag(last) OVER forth")}
                     AS after_gap,
                   min(time) FILTER (WHERE {well}) OVER back AS well_at
            FROM sample
            WINDOW forth AS (PARTITION BY server_id{keys} ORDER BY time),
                   back AS (PARTITION BY server_id{keys} ORDER BY time DESC)
        """  # noqa: S608

    def _numbered(self, keys: str) -> str:
        """Give the samples of a run the same number: that of the breaks before it."""
        numbers = ", ".join(
            f"count(*) FILTER (WHERE NOT bad{j} OR after_gap) OVER forth AS run{j}"
            for j in range(len(self._rule.levels))
        )
        return f"""
            SELECT *, {numbers} FROM marked
            WINDOW forth AS (PARTITION BY server_id{keys} ORDER BY time)
        """  # noqa: S608

    def _runs(self, level: int, keys: str) -> str:
        """The runs of a level that lasted."""
        worst = "max" if self._rule.operator.upward else "min"
        for_s = self._parameters.add(self._rule.levels[level].for_s)
        return f"""
            SELECT server_id{keys}, {level} AS level, min(time) AS since, max(last) AS until,
                   min(well_at) AS well_at, {worst}(worst)::float8 AS value
            FROM numbered WHERE bad{level} GROUP BY server_id{keys}, run{level}
            HAVING max(last) - min(time) >= make_interval(secs => {for_s}::float8)
        """  # noqa: S608


def metric_is_stored(name: str) -> bool:
    """Whether samples of a metric are stored, so that its past can be asked."""
    return name in catalog.METRICS


def has_minutes(name: str) -> bool:
    """Whether minutes tell the same series apart as samples do; they forget processes' ids."""
    return metric_is_stored(name) and catalog.find_metric(name).table.name != "process"
