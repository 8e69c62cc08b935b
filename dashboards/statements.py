"""The SQL of panels: one statement each, of which Grafana's interval picks the tier that is read.

    interval < 1 min   raw ──┐
    interval < 1 h     1m  ──┤ the next coarser one where the range begins before a tier does
    longer             1h  ──┘

All three stand in the statement. The conditions that choose among them hold constants and now()
only, so that PostgreSQL plans or runs one branch and skips the others (`One-Time Filter`). Names
come from the metric catalog: one that is not there fails when dashboards are made. Macros are
those of Grafana's PostgreSQL data source (docs: "PostgreSQL query editor", macros).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storage import catalog

SERVER = "t.server_id = nullif('$server', '')::integer"
FROM = "$__timeFrom()::timestamptz"
# Ranges are asked for a moment before the database looks at its clock.
SLACK = "5 minutes"
RAW_IS_KEPT = f"{FROM} >= now() - interval '$raw_kept' - interval '{SLACK}'"
MINUTES_ARE_KEPT = f"{FROM} >= now() - interval '$minutes_kept' - interval '{SLACK}'"
RAW_IS_FIT = f"$__interval_ms < 60000 AND {RAW_IS_KEPT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A relation beside a metric table, and when it is read."""

    suffix: str
    width: str | None
    when: str

    @property
    def within(self) -> str:
        """Return the predicate of the range; of a rollup, all buckets count that it touches."""
        if self.width is None:
            return "$__timeFilter(t.time)"
        begin = f"date_bin('{self.width}', {FROM}, TIMESTAMPTZ 'epoch')"
        return f"t.time BETWEEN {begin} AND $__timeTo()"


MINUTE_WIDTH, HOUR_WIDTH = "1 minute", "1 hour"
TIERS = (
    Tier(suffix="", width=None, when=RAW_IS_FIT),
    Tier(
        suffix="_1m",
        width=MINUTE_WIDTH,
        when=f"$__interval_ms < 3600000 AND NOT ({RAW_IS_FIT}) AND {MINUTES_ARE_KEPT}",
    ),
    Tier(
        suffix="_1h",
        width=HOUR_WIDTH,
        when=f"($__interval_ms >= 3600000 OR NOT ({MINUTES_ARE_KEPT}))",
    ),
)
# Of all servers at once: their raw samples are too many for a panel.
FLEET_TIERS = (
    Tier(
        suffix="_1m",
        width=MINUTE_WIDTH,
        when=f"$__interval_ms < 120000 AND {MINUTES_ARE_KEPT}",
    ),
    Tier(
        suffix="_1h",
        width=HOUR_WIDTH,
        when=f"($__interval_ms >= 120000 OR NOT ({MINUTES_ARE_KEPT}))",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A column of an answer: a metric, others added or taken off, and what it is called."""

    title: str
    metric: str
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    aggregate: Literal["avg", "max"] = "avg"

    @property
    def metrics(self) -> list[catalog.Metric]:
        """Return what it is made of, the first one first.

        Raises:
            UnknownMetric: the catalog has no such name.
        """
        return [catalog.find_metric(name) for name in (self.metric, *self.plus, *self.minus)]

    def value(self, tier: Tier) -> str:
        """Return its expression over the rows of a group."""
        first, *others = (self._combined(metric, tier) for metric in self.metrics)
        signs = "+" * len(self.plus) + "-" * len(self.minus)
        rest = "".join(f" {sign} {each}" for sign, each in zip(signs, others, strict=True))
        return f"{first}{rest}"

    def _combined(self, metric: catalog.Metric, tier: Tier) -> str:
        """Return one metric's expression: averages of buckets weigh as many rows as they had."""
        column = f"t.{metric.column.name}"
        if self.aggregate == "max":
            return f"max({column}{'_max' if tier.width else ''})"
        if tier.width is None:
            return f"avg({column}::float8)"
        rows = f"sum(t.sample_count) FILTER (WHERE {column} IS NOT NULL)"
        return f"sum({column}::float8 * t.sample_count) / {rows}"


def table_of(curves: tuple[Curve, ...]) -> catalog.Table:
    """Return the one metric table that all curves are from."""
    tables = {metric.table.name: metric.table for each in curves for metric in each.metrics}
    (table,) = tables.values()
    return table


def unit_of(curves: tuple[Curve, ...]) -> str:
    """Return the one unit that all curves have, as the catalog calls it."""
    (unit,) = {metric.unit for each in curves for metric in each.metrics}
    return unit


def history(*curves: Curve, label: str | None = None, called: str = "", where: str = "") -> str:
    """Return the curves of one server over time.

    Args:
        curves: from one table; with a label exactly one.
        label: a column that tells series apart; each value of it is a series of its own.
        called: put behind the label in the name of the series.
        where: a further predicate over `t`.
    """
    table = table_of(curves)
    branches: list[str] = []
    for tier in TIERS:
        columns = ["$__timeGroupAlias(t.time,'$__interval',NULL)"]
        if label is not None:
            columns.append(f"""t.{label}{f" || ' {called}'" if called else ""} AS metric""")
        columns += [f'{each.value(tier)} AS "{each.title}"' for each in curves]
        branches.append(
            _select(
                columns,
                f"{table.name}{tier.suffix} t",
                [tier.when, SERVER, tier.within, where],
                "GROUP BY 1, 2" if label is not None else "GROUP BY 1",
            )
        )
    return _union(branches)


def cores() -> str:
    """Return the use of each core over time, a series a core; an element without a reading is NaN.

    Names have as many digits as the highest number, so that they sort as numbers do.
    """
    column = catalog.find_metric("cpu.core_usage_percent").column.name
    branches = [
        _select(
            [
                "$__timeGroupAlias(t.time,'$__interval',NULL)",
                "lpad((core.number - 1)::text, 3, '0') AS metric",
                "avg(nullif(core.value, 'NaN')::float8) AS value",
            ],
            f"cpu{tier.suffix} t CROSS JOIN LATERAL"
            f" unnest(t.{column}) WITH ORDINALITY AS core (value, number)",
            [tier.when, SERVER, tier.within],
            "GROUP BY 1, 2",
        )
        for tier in TIERS
    ]
    return _union(branches, order="1, 2")


def fleet(*curves: Curve, over_servers: Literal["avg", "sum"]) -> str:
    """Return curves of all servers together: each bucket's average or sum, then over the interval.

    Args:
        curves: from one table.
        over_servers: how the values of one bucket are put together; `max` curves take the highest.
    """
    table = table_of(curves)
    branches: list[str] = []
    for tier in FLEET_TIERS:
        inner: list[str] = []
        for number, each in enumerate(curves):
            (metric,) = each.metrics
            of_rows = "max" if each.aggregate == "max" else over_servers
            column = f"t.{metric.column.name}{'_max' if each.aggregate == 'max' else ''}"
            inner.append(f"{of_rows}({column}::float8) AS v{number}")
        buckets = _select(
            ["t.time", *inner],
            f"{table.name}{tier.suffix} t",
            [tier.when, tier.within],
            "GROUP BY 1",
        )
        outer = [
            f'{each.aggregate}(b.v{number}) AS "{each.title}"' for number, each in enumerate(curves)
        ]
        columns = ["$__timeGroupAlias(b.time,'$__interval',NULL)", *outer]
        branches.append(f"SELECT {', '.join(columns)}\nFROM ({_indented(buckets)}) b\nGROUP BY 1")
    return _union(branches)


def top_processes(metric: str, *, limit: int = 10) -> str:
    """Return the programs that took most of something in the range, averaged over all its ticks.

    A program that was not among the top in a tick counts nothing there: what it took is not known.
    """
    column = catalog.find_metric(metric).column.name
    branches: list[str] = []
    for tier in TIERS:
        values = (
            [f"t.{column}::float8 AS value", f"t.{column}_max::float8 AS highest", "t.ticks_seen"]
            if tier.width
            else [
                f"sum(t.{column})::float8 AS value",
                f"sum(t.{column})::float8 AS highest",
                "1::bigint AS ticks_seen",
            ]
        )
        branches.append(
            _select(
                ["t.name", "t.username", *values],
                f"process{tier.suffix} t",
                [tier.when, SERVER, tier.within],
                "" if tier.width else "GROUP BY t.time, t.name, t.username",
            )
        )
    seen = _indented("\nUNION ALL\n".join(branches))
    return (
        'SELECT p.name AS "process", p.username AS "user",\n'
        "       sum(p.value * p.ticks_seen) / max(sum(p.ticks_seen)) OVER () AS average,\n"
        "       max(p.highest) AS highest\n"
        f"FROM ({seen}) p\n"
        f"GROUP BY 1, 2 ORDER BY 3 DESC NULLS LAST LIMIT {limit}"
    )


def _select(columns: list[str], source: str, predicates: list[str], tail: str) -> str:
    """Write a SELECT."""
    where = "\n  AND ".join(each for each in predicates if each)
    return f"SELECT {', '.join(columns)}\nFROM {source}\nWHERE {where}" + (f"\n{tail}" * bool(tail))


def _union(branches: list[str], order: str = "1") -> str:
    """Put the branches of the tiers together."""
    return "\nUNION ALL\n".join(branches) + f"\nORDER BY {order}"


def _indented(statement: str) -> str:
    """Set a statement in by two spaces, its first line too."""
    return "\n  " + statement.replace("\n", "\n  ")
