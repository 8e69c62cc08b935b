"""The SQL that finds past runs: what a rule would have said of samples that are stored.

The same samples breach, break a run and recover as in `run_query`; only that every run of the range
is wanted, not the one that ends at the newest sample. `relation` is where the samples are read, so
that coarser tiers can stand in for raw ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting import run_query
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from alerting.rule_groups import Group


def build(
    group: Group,
    *,
    servers: Sequence[int],
    start: datetime,
    end: datetime,
    relation: str | None = None,
) -> tuple[str, list[object]]:
    """Return the statement and its parameters for the one rule of a group.

    Each row is a run that lasted its level's `for`: server_id, server, labels, level (the index of
    it), since, until (its last sample), well_at (the first sample after it on the good side of the
    recovery threshold; NULL where there is none) and value, the worst of the run.
    """
    return _HistoryBuilder(group, servers, start, end, relation or group.table.name).statement()


class _HistoryBuilder(run_query.Builder):
    """Collects the parts of one statement."""

    def __init__(
        self,
        group: Group,
        servers: Sequence[int],
        start: datetime,
        end: datetime,
        relation: str,
    ) -> None:
        super().__init__(group, servers)
        self._start = self._parameters.add(start)
        self._end = self._parameters.add(end)
        self._relation = relation
        (self._rule,) = group.rules

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
            SELECT s.id, s.name,
                   coalesce(f.interval_s, CASE WHEN s.machine_id IS NULL
                     THEN {run_query.NO_AGENT_INTERVAL_S} ELSE {default}::float8 END)::float8
                     * {run_query.GAP_INTERVALS} AS gap_s
            FROM server s
            LEFT JOIN family_interval f
              ON f.server_id = s.id AND f.family = {self._parameters.add(name)}
            WHERE s.id = ANY({self._live}::int[]) AND {self._selects(self._rule.selector)}
        """  # noqa: S608

    def _samples(self) -> str:
        """The range's samples, server by server along the index."""
        labels = "".join(f"{sql} AS k{n}, " for n, sql in enumerate(self._labels.values()))
        return f"""
            SELECT w.id AS server_id, w.gap_s, x.*
            FROM watched w CROSS JOIN LATERAL (
              SELECT {labels} m.time, {self._source(self._rule)} AS v FROM {self._from()}
              WHERE m.server_id = w.id AND m.time >= {self._start} AND m.time < {self._end}
                {self._label_condition(self._rule)}
              OFFSET 0
            ) x
        """  # noqa: S608

    def _marked(self, keys: str) -> str:
        """What each sample says, and what came before and after it."""
        rule = self._rule
        breaches = ", ".join(
            f"({self._breaches(rule, level.threshold, 'v')}) IS TRUE AS bad{j}"
            for j, level in enumerate(rule.levels)
        )
        well = f"({self._breaches(rule, rule.recovery, 'v')}) IS FALSE"
        return f"""
            SELECT *, {breaches},
                   time - lag(time) OVER forth > make_interval(secs => gap_s) AS after_gap,
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
            SELECT server_id{keys}, {level} AS level, min(time) AS since, max(time) AS until,
                   min(well_at) AS well_at, {worst}(v)::float8 AS value
            FROM numbered WHERE bad{level} GROUP BY server_id{keys}, run{level}
            HAVING max(time) - min(time) >= make_interval(secs => {for_s}::float8)
        """  # noqa: S608

    def _from(self) -> str:
        """The relation that stands in for the raw table."""
        return super()._from().replace(f"{self._group.table.name} m", f"{self._relation} m", 1)


def metric_is_stored(name: str) -> bool:
    """Whether samples of a metric are stored, so that its past can be asked."""
    return name in catalog.METRICS
