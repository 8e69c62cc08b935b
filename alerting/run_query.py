"""The SQL that finds runs: one statement for all rules of a table and all servers.

watched ─▶ hot ─▶ sample ─▶ run ─▶ rows

- `watched`: each server with its interval, the one before that and until when it was in force, its
  clock, and which rules choose it;
- `hot`: those whose newest samples breach the mildest level of a rule, or that have a live alert:
  a few index probes for each server, so that a healthy fleet costs little and returns nothing;
- `sample`: the samples of the hot servers in the window, with the times before and after;
- `run`: for each series and level where its run begins: the latest of (a) the sample after one that
  does not breach or is NULL, (b) a sample after a gap of more than 2.5 intervals, (c) the first
  in the window. The window holds the longest `for`, one gap and the age at which data is stale,
  so (c) is old enough whenever it is chosen.

An agent that is told to read more often has read less often until then: up to the change, and for
as long as the first sample after it may take, the longer of both intervals counts.

Sample times follow the agent's clock, which may be minutes off: they are compared with the database
clock plus the server's offset. Identifiers come from the catalog only; values are parameters.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alerting import rules
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerting.rule_groups import Group

GAP_INTERVALS = 2.5
STALE_EXTRA_S = 5.0
DEFAULT_INTERVALS_S = {"disk_usage": 60.0}
DEFAULT_INTERVAL_S = 10.0
INTERVAL_MAX_S = 60.0
# A server without an agent tells nobody its interval: samples up to 150 s apart count as unbroken.
NO_AGENT_INTERVAL_S = INTERVAL_MAX_S
CHANGE_COUNTS_S = 90_000.0  # longer than any window reaches back
CLOCK_SPAN_S = 600.0  # agents' clocks may be 5 minutes off, HTTP takes 10 minutes ahead


@dataclass(slots=True)
class Parameters:
    """The values of a statement, in the order of their numbers."""

    values: list[object] = field(default_factory=list[object])

    def add(self, value: object) -> str:
        """Return the placeholder of a value."""
        self.values.append(value)
        return f"${len(self.values)}"


def build(group: Group, *, live_servers: Sequence[int]) -> tuple[str, list[object]]:
    """Return the statement and its parameters.

    Each row is a series: server_id, server, labels (an object), and for the rule at index i:
    `on{i}` (does it choose this server), `fresh{i}`, `value{i}`, `recovered{i}`; for its level j
    the run's beginning in database time `since{i}_{j}` and its length in seconds `lasted{i}_{j}`,
    NULL where the newest sample does not breach. Series that are well and have no live alert on
    their server are left out.
    """
    return Builder(group, live_servers).statement()


class Builder:
    """Collects the parts of one statement."""

    def __init__(self, group: Group, live_servers: Sequence[int]) -> None:
        self._group = group
        self._parameters = Parameters()
        self._live = self._parameters.add(list(live_servers))
        self._labels = label_expressions(group)
        names = dict.fromkeys(catalog.find_metric(rule.metric).column for rule in group.rules)
        self._values = {column.name: f"v{number}" for number, column in enumerate(names)}

    def statement(self) -> tuple[str, list[object]]:
        """Put the parts together."""
        sql = f"""
            WITH watched AS MATERIALIZED ({self._watched()}),
            hot AS MATERIALIZED ({self._hot()}),
            sample AS ({self._sample()}),
            run AS ({self._run()})
            {self._rows()}
        """
        return sql, self._parameters.values

    def _watched(self) -> str:
        """Servers that have not said goodbye, the rules that choose them, their intervals."""
        add = self._parameters.add
        choices = ", ".join(
            f"{self._selects(rule.selector)} AS on{i}" for i, rule in enumerate(self._group.rules)
        )
        name = self._group.table.name
        default = add(DEFAULT_INTERVALS_S.get(name, DEFAULT_INTERVAL_S))
        return f"""
            SELECT s.id, s.name, s.id = ANY({self._live}::int[]) AS live, i.interval_s,
                   CASE WHEN f.updated_at > now() - make_interval(secs => {CHANGE_COUNTS_S})
                     THEN {former()} ELSE i.interval_s END AS former_s,
                   f.updated_at + c.ahead AS changed,
                   c.ahead, now() + c.ahead AS clock, {choices}
            FROM server s
            LEFT JOIN family_interval f ON f.server_id = s.id AND f.family = {add(name)}
            CROSS JOIN LATERAL (SELECT {interval(default)} AS interval_s) i
            CROSS JOIN LATERAL (
              SELECT make_interval(secs => CASE WHEN s.clock_is_wrong THEN 0
                       ELSE coalesce(s.clock_offset_ms, 0) / 1000 END) AS ahead
            ) c
            WHERE s.status <> 'stopped'
        """  # noqa: S608

    def _selects(self, selector: rules.Selector) -> str:
        """Return the condition that a server is chosen."""
        parts: list[str] = []
        if selector.names:
            parts.append(f"s.name = ANY({self._parameters.add(list(selector.names))}::text[])")
        if selector.labels:
            parts.append(f"s.labels @> {self._parameters.add(dict(selector.labels))}::jsonb")
        return f"({' AND '.join(parts)})" if parts else "true"

    def _hot(self) -> str:
        """Servers worth a closer look."""
        breaches = " OR ".join(
            f"(w.on{i} AND {self._breaches(rule, rule.levels[0].threshold, self._source(rule))}"
            f"{self._label_condition(rule)})"
            for i, rule in enumerate(self._group.rules)
        )
        always = [
            f"w.on{i}"
            for i, rule in enumerate(self._group.rules)
            if rule.no_data is rules.NoDataPolicy.ALERT  # also healthy series may go missing
        ]
        stale_max_s = GAP_INTERVALS * INTERVAL_MAX_S + STALE_EXTRA_S
        return f"""
            SELECT w.* FROM watched w
            WHERE {" OR ".join(["w.live", *always])} OR EXISTS (
              SELECT FROM {self._from()}
              WHERE m.server_id = w.id AND {self._time_bounds(stale_max_s)}
                AND {_is_fresh("w", "m.time")}
                AND ({breaches})
            )
        """  # noqa: S608

    def _sample(self) -> str:
        """The window's samples with their neighbours' times."""
        labels = "".join(f"{sql} AS k{n}, " for n, sql in enumerate(self._labels.values()))
        keys = "".join(f", k{n}" for n in range(len(self._labels)))
        values = ", ".join(
            f"{self._expression(name)} AS {alias}" for name, alias in self._values.items()
        )
        for_s = self._group.for_max_s
        window_s = for_s + 2 * GAP_INTERVALS * INTERVAL_MAX_S + STALE_EXTRA_S
        for_parameter = self._parameters.add(for_s)
        lookback = f"make_interval(secs => {for_parameter}::float8 + h.former_s * {GAP_INTERVALS})"
        return f"""
            SELECT h.id AS server_id, h.interval_s, h.former_s, h.changed, x.*,
                   lag(x.time) OVER series AS before, lead(x.time) OVER series AS next
            FROM hot h CROSS JOIN LATERAL (
              SELECT {labels} m.time, {values} FROM {self._from()}
              WHERE m.server_id = h.id AND {self._time_bounds(window_s)}
                AND m.time > h.clock - {_stale("h", "former_s")} - {lookback}
              OFFSET 0  -- a fence: by the index for each hot server, never a scan of the whole day
            ) x
            WINDOW series AS (PARTITION BY h.id{keys} ORDER BY x.time)
        """  # noqa: S608

    def _run(self) -> str:
        """For each series: the newest values, and where each level's run begins."""
        keys = "".join(f", k{n}" for n in range(len(self._labels)))
        parts = ["max(time) AS newest"]
        for alias in self._values.values():
            present = f"FILTER (WHERE {alias} IS NOT NULL)"
            parts.append(f"max(time) {present} AS {alias}_time")
            # The greatest (time, value), so that nothing is sorted; real and float8 fit exactly.
            newest = f"max(ARRAY[extract(epoch FROM time)::float8, {alias}::float8]) {present}"
            parts.append(f"({newest})[2] AS {alias}")
        parts.append(f"max(time) FILTER (WHERE time - before > {gap('before')}) AS after_gap")
        parts.append("min(time) AS first")
        for i, rule in enumerate(self._group.rules):
            value = self._values[catalog.find_metric(rule.metric).column.name]
            for j, level in enumerate(rule.levels):
                breach = self._breaches(rule, level.threshold, value)
                parts.append(f"max(time) FILTER (WHERE {breach}) AS bad{i}_{j}")
                parts.append(f"max(next) FILTER (WHERE ({breach}) IS NOT TRUE) AS good{i}_{j}")
        return f"SELECT server_id{keys}, {', '.join(parts)} FROM sample GROUP BY server_id{keys}"  # noqa: S608

    def _rows(self) -> str:
        """Name the series and leave out those that nobody has to look at."""
        parts: list[str] = []
        wanted = ["h.live"]
        for i, rule in enumerate(self._group.rules):
            value = "r." + self._values[catalog.find_metric(rule.metric).column.name]
            fresh = f"({value}_time IS NOT NULL AND {_is_fresh('h', f'{value}_time')})"
            recovered = self._breaches(rule, rule.recovery, value)
            parts += [
                f"h.on{i}",
                f"{fresh} AS fresh{i}",
                f"{value}::float8 AS value{i}",
                f"({recovered}) IS NOT TRUE AS recovered{i}",
            ]
            for j in range(len(rule.levels)):
                since = f"greatest(r.good{i}_{j}, r.after_gap, r.first)"
                running = f"{fresh} AND r.bad{i}_{j} = r.newest"
                parts.append(f"CASE WHEN {running} THEN {since} - h.ahead END AS since{i}_{j}")
                parts.append(
                    f"CASE WHEN {running} THEN extract(epoch FROM r.newest - {since})::float8 END"
                    f" AS lasted{i}_{j}"
                )
                wanted.append(f"(h.on{i} AND {running})")
            if rule.no_data is rules.NoDataPolicy.ALERT:
                wanted.append(f"(h.on{i} AND NOT {fresh})")
        return f"""
            SELECT h.id AS server_id, h.name AS server, {self._labels_object()} AS labels,
                   {", ".join(parts)}
            FROM run r JOIN hot h ON h.id = r.server_id
            WHERE {" OR ".join(wanted)}
        """  # noqa: S608

    def _from(self) -> str:
        """The table, one row for each element where it is an array that is watched."""
        name = self._group.table.name
        if self._group.element is None:
            return f"{name} m"
        column = next(iter(self._values))
        return f"{name} m CROSS JOIN LATERAL unnest(m.{column}) WITH ORDINALITY AS e(value, number)"

    def _expression(self, column: str) -> str:
        """A column's value; an element without a reading is NaN, which PostgreSQL sorts highest."""
        return f"m.{column}" if self._group.element is None else "nullif(e.value, 'NaN')"

    def _source(self, rule: rules.Rule) -> str:
        """The value that a rule looks at, in a sample."""
        return self._expression(catalog.find_metric(rule.metric).column.name)

    def _breaches(self, rule: rules.Rule, threshold: float, value: str) -> str:
        """Compare in the column's own precision: a value exactly at the threshold is not above."""
        if catalog.find_metric(rule.metric).column.sql_type in {"real", "real[]"}:
            threshold = as_real(threshold)
        return f"{value} {rule.operator} {self._parameters.add(threshold)}::float8"

    def _label_condition(self, rule: rules.Rule) -> str:
        """Restrict a rule to the values of labels that it watches."""
        conditions: list[str] = []
        for label, values in rule.label_filter.items():
            wanted = self._parameters.add(list(values))
            known = self._labels.get(label)
            if known is None or (self._group.table is catalog.CUSTOM and label != "name"):
                known = f"m.labels ->> {self._parameters.add(label)}::text"
            conditions.append(f" AND ({known})::text = ANY({wanted}::text[])")
        return "".join(conditions)

    def _labels_object(self) -> str:
        """The labels of a series as jsonb."""
        if self._group.table is catalog.CUSTOM:
            return "r.k1 || jsonb_build_object('name', r.k0)"
        pairs = ", ".join(f"'{name}', r.k{n}::text" for n, name in enumerate(self._labels))
        return f"jsonb_build_object({pairs})"

    def _time_bounds(self, seconds: float) -> str:
        """Bounds that don't depend on the server, so that partitions are left out at once."""
        oldest = self._parameters.add(seconds + CLOCK_SPAN_S)
        return (
            f"m.time > now() - make_interval(secs => {oldest}::float8)"
            f" AND m.time < now() + make_interval(secs => {CLOCK_SPAN_S})"
        )


def label_expressions(group: Group) -> dict[str, str]:
    """Return the labels that tell series apart, and where each comes from."""
    expressions = {label: f"m.{label}" for label in group.table.series}
    if group.element is not None:
        expressions[group.element] = "e.number - 1"
    return expressions


def as_real(number: float) -> float:
    """Return the number as a real holds it.

    PostgreSQL would refuse to make one of what is too large, and the whole statement with it.
    """
    try:
        return struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def interval(default: str) -> str:
    """Return the interval in force of a server `s` whose row is `f`, if it has any."""
    return (
        f"coalesce(f.interval_s, CASE WHEN s.machine_id IS NULL THEN {NO_AGENT_INTERVAL_S}"
        f" ELSE {default}::float8 END)::float8"
    )


def former() -> str:
    """Return the interval by which samples from before the last change are judged."""
    return "greatest(f.former_s, i.interval_s)::float8"


def gap(before: str) -> str:
    """Return how long after a sample at `before` the next one may come within a run."""
    seconds = f"CASE WHEN {before} < changed THEN former_s ELSE interval_s END"
    return f"make_interval(secs => ({seconds}) * {GAP_INTERVALS})"


def _stale(server: str, interval_s: str) -> str:
    """Return the age from which on a sample says nothing any more."""
    return f"make_interval(secs => {server}.{interval_s} * {GAP_INTERVALS} + {STALE_EXTRA_S})"


def _is_fresh(server: str, time: str) -> str:
    """Return the condition that a sample says something still.

    After a change of the interval the former one counts until the first sample may be expected.
    """
    clock, stale = f"{server}.clock", _stale(server, "interval_s")
    return (
        f"({time} > {clock} - {stale} OR {server}.changed > {clock} - {stale}"
        f" AND {time} > {clock} - {_stale(server, 'former_s')})"
    )
