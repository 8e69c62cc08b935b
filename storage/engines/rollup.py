"""What a rollup is, in SQL that both engines share.

A rollup holds one row a bucket and series: for each value `x` its average `x`, `x_min` and `x_max`,
and `sample_count`. Every tier is made from raw samples, because an average of averages is wrong
wherever values are missing. Bytes and counts are averaged as float8, for avg(bigint) is numeric.

Processes come and go, so theirs are rolled up by name and user: values of one tick are summed, and
the sums averaged over the ticks in which the name was seen (`ticks_seen`). Kernel threads of one
kind count as one name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from storage.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERNAL = "hostpulse_internal"
# Of a kernel thread's name, what stands before the first slash: kworker/0:1-events is a kworker.
KERNEL_THREADS = (
    "kworker|ksoftirqd|migration|cpuhp|idle_inject|irq|rcuop|rcuos|rcuog|scsi_eh|watchdog"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One resolution of rollups: how wide its buckets are, and how they are kept."""

    name: str
    width: timedelta
    chunk: timedelta  # of a hypertable

    @property
    def retention(self) -> timedelta:
        """How long it is kept unless the database says otherwise (retention.py)."""
        return Retention().tiers[self.name]

    @property
    def interval(self) -> str:
        """The width as SQL."""
        return f"INTERVAL '{int(self.width.total_seconds())} s'"


MINUTE = Tier(
    name="1m",
    width=timedelta(minutes=1),
    chunk=timedelta(days=1),
)
HOUR = Tier(
    name="1h",
    width=timedelta(hours=1),
    chunk=timedelta(days=30),
)
TIERS = (MINUTE, HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A column of a rollup: its name, its type, and the expression that makes it from raw."""

    name: str
    sql_type: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """How a raw table is rolled up.

    Args:
        table: the raw table.
        groups: expressions that tell series apart, beside time and server.
        described: labels that a series may change; the greatest of a bucket is kept.
        values: value columns and their types.
    """

    table: str
    groups: tuple[Output, ...]
    described: tuple[str, ...]
    values: tuple[tuple[str, str], ...]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All columns but time, in order."""
        server = Output(name="server_id", sql_type="integer", expression="server_id")
        described = tuple(
            Output(name=name, sql_type="text", expression=f"max({name})") for name in self.described
        )
        values = tuple(output for name, kind in self.values for output in self._value(name, kind))
        seen = (
            (
                Output(
                    name="ticks_seen",
                    sql_type="bigint",
                    expression=f"count(DISTINCT {self.table}.time)",
                ),
            )
            if self.table == "process"
            else ()
        )
        count = Output(name="sample_count", sql_type="bigint", expression="count(*)")
        return (server, *self.groups, *described, *values, *seen, count)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, time first."""
        return ("time", *(output.name for output in self.outputs))

    def select(self, bucket: str, where: str = "true") -> str:
        """Return the statement that makes rollup rows from raw ones, without a subquery.

        That is what a continuous aggregate takes.

        Args:
            bucket: the expression of the bucket's begin, of the column `time`.
            where: which raw samples.
        """
        return self._grouped(self.outputs, bucket, f"{self.table}\nWHERE {where}")

    def select_in_bulk(self, bucket: str, where: str = "true") -> str:
        """Return a statement that makes the same rows from many samples in less time.

        Processes are added up tick by tick in a subquery: PostgreSQL's own sums take a tenth of the
        time of our aggregates. The arguments are those of `select`.
        """
        if self.table != "process":
            return self.select(bucket, where)
        groups = ", ".join(f"{o.expression} AS {o.name}" for o in self.groups)
        sums = ", ".join(f"sum({name}::float8) AS {name}" for name, _ in self.values)
        ticks = (
            f"(SELECT time, server_id, {groups}, {sums}, count(*) AS processes\n"
            f"FROM {self.table}\nWHERE {where}\n"
            f"GROUP BY {', '.join(str(1 + i) for i in range(2 + len(self.groups)))}) {self.table}"
        )
        return self._grouped(self._of_ticks, bucket, ticks)

    @property
    def _of_ticks(self) -> tuple[Output, ...]:
        """The columns, made from sums of ticks."""
        made = {
            name + suffix: f"{function}({name})"
            for name, _ in self.values
            for suffix, function in (("", "avg"), ("_min", "min"), ("_max", "max"))
        }
        made |= {"ticks_seen": "count(*)", "sample_count": "sum(processes)::bigint"}
        return tuple(
            replace(o, expression=f"{made[o.name]}::{o.sql_type}" if o.name in made else o.name)
            for o in self.outputs
        )

    def _grouped(self, outputs: tuple[Output, ...], bucket: str, source: str) -> str:
        columns = ",\n  ".join(f"{o.expression} AS {o.name}" for o in outputs)
        groups = ", ".join(str(2 + i) for i in range(1 + len(self.groups)))  # server first
        return f"SELECT {bucket} AS time,\n  {columns}\nFROM {source}\nGROUP BY 1, {groups}"

    def ddl(self) -> str:
        """Return the columns of a table that holds these rows."""
        columns = ", ".join(f"{o.name} {o.sql_type}" for o in self.outputs)
        return f"time timestamptz NOT NULL, {columns}"

    def _value(self, name: str, kind: str) -> tuple[Output, ...]:
        """Return average, minimum and maximum of a value column."""
        if kind == "real[]":
            return tuple(
                Output(
                    name=name + suffix,
                    sql_type=kind,
                    expression=f"{INTERNAL}.array_{function}({name})",
                )
                for function, suffix in (("avg", ""), ("min", "_min"), ("max", "_max"))
            )
        average = "real" if kind == "real" else "double precision"
        if self.table == "process":
            ticks = f"({name}, {self.table}.time ORDER BY {self.table}.time)"
            return tuple(
                Output(
                    name=name + suffix,
                    sql_type=average,
                    expression=f"{INTERNAL}.tick_{function}{ticks}::{average}",
                )
                for function, suffix in (("avg", ""), ("min", "_min"), ("max", "_max"))
            )
        return (
            Output(name=name, sql_type=average, expression=f"avg({name}::float8)::{average}"),
            Output(name=f"{name}_min", sql_type=kind, expression=f"min({name})"),
            Output(name=f"{name}_max", sql_type=kind, expression=f"max({name})"),
        )


def _label(name: str, sql_type: str = "text") -> Output:
    """Return a group that is a label as it stands."""
    return Output(name=name, sql_type=sql_type, expression=name)


_PROCESS_NAME = Output(
    name="name",
    sql_type="text",
    expression=f"regexp_replace(name, '^({KERNEL_THREADS})/.*', '\\1')",
)
_GROUPS = {
    "disk_usage": (_label("mount"),),
    "disk_io": (_label("device"),),
    "network": (_label("interface"),),
    "process": (_PROCESS_NAME, _label("username")),
    "custom": (_label("name"), _label("labels", "jsonb")),
}
_DESCRIBED = {"disk_usage": ("device", "fstype")}
# What was added to a raw table after its rollups were made is in raw only: a continuous aggregate
# takes no new column before TimescaleDB 2.29.
_NOT_ROLLED_UP = {
    "process": ("pid", "cmdline", "cpu_rank", "memory_rank"),
    "agent_health": ("unspooled_batches",),
}


def of(table: str, columns: Sequence[tuple[str, str]]) -> Rollup:
    """Return the rollup of a raw table.

    Args:
        table: the raw table.
        columns: names and types of all its columns, in order.
    """
    groups = _GROUPS.get(table, ())
    described = _DESCRIBED.get(table, ())
    left_out = {"time", "server_id", *(g.name for g in groups), *described}
    left_out.update(_NOT_ROLLED_UP.get(table, ()))
    return Rollup(
        table=table,
        groups=groups,
        described=described,
        values=tuple((name, kind) for name, kind in columns if name not in left_out),
    )


# Aggregates of our own. Those with one transition function share its work within a query.
FUNCTIONS = (
    f"""
    CREATE TYPE {INTERNAL}.elements AS
      (sums float8[], counts bigint[], lowest real[], highest real[])
    """,
    f"""
    CREATE FUNCTION {INTERNAL}.elements_add(state {INTERNAL}.elements, item real[])
    RETURNS {INTERNAL}.elements LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE value real;
    BEGIN
      IF item IS NULL THEN
        RETURN state;
      END IF;
      FOR i IN 1 .. cardinality(item) LOOP
        value := item[i];
        IF i > coalesce(cardinality(state.counts), 0) THEN
          -- Arrays grow from 1 without holes: a first assignment at 2 would begin one at 2.
          state.sums[i] := NULL;
          state.counts[i] := NULL;
          state.lowest[i] := NULL;
          state.highest[i] := NULL;
        END IF;
        CONTINUE WHEN value IS NULL OR value = 'NaN';
        IF state.counts[i] IS NULL THEN
          state.sums[i] := value;
          state.counts[i] := 1;
          state.lowest[i] := value;
          state.highest[i] := value;
        ELSE
          state.sums[i] := state.sums[i] + value;
          state.counts[i] := state.counts[i] + 1;
          state.lowest[i] := least(state.lowest[i], value);
          state.highest[i] := greatest(state.highest[i], value);
        END IF;
      END LOOP;
      RETURN state;
    END $$
    """,
    f"""
    CREATE FUNCTION {INTERNAL}.elements_avg(state {INTERNAL}.elements) RETURNS real[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
      SELECT CASE WHEN state.counts IS NOT NULL THEN (
        SELECT array_agg((s / c)::real ORDER BY i)
        FROM unnest(state.sums, state.counts) WITH ORDINALITY AS e (s, c, i)
      ) END
    $$
    """,
    f"""
    CREATE FUNCTION {INTERNAL}.elements_min(state {INTERNAL}.elements) RETURNS real[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT state.lowest $$
    """,
    f"""
    CREATE FUNCTION {INTERNAL}.elements_max(state {INTERNAL}.elements) RETURNS real[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT state.highest $$
    """,
    *(
        f"""
        CREATE AGGREGATE {INTERNAL}.array_{name}(real[]) (
          SFUNC = {INTERNAL}.elements_add, STYPE = {INTERNAL}.elements, INITCOND = '(,,,)',
          FINALFUNC = {INTERNAL}.elements_{name}, PARALLEL = SAFE)
        """
        for name in ("avg", "min", "max")
    ),
    f"""
    CREATE TYPE {INTERNAL}.ticks AS
      (at timestamptz, running float8, total float8, ticks bigint, lowest float8, highest float8)
    """,
    f"""
    CREATE FUNCTION {INTERNAL}.ticks_add(
      state {INTERNAL}.ticks, value float8, at timestamptz
    ) RETURNS {INTERNAL}.ticks LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
      IF value IS NULL THEN
        RETURN state;
      END IF;
      IF state.at = at THEN
        state.running := state.running + value;
        RETURN state;
      END IF;
      IF state.at IS NOT NULL THEN
        state.total := coalesce(state.total, 0) + state.running;
        state.ticks := coalesce(state.ticks, 0) + 1;
        state.lowest := least(state.lowest, state.running);
        state.highest := greatest(state.highest, state.running);
      END IF;
      state.at := at;
      state.running := value;
      RETURN state;
    END $$
    """,
    *(
        f"""
        CREATE FUNCTION {INTERNAL}.ticks_{name}(s {INTERNAL}.ticks) RETURNS float8
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {expression} $$
        """
        for name, expression in (
            ("avg", "(coalesce(s.total, 0) + s.running) / (coalesce(s.ticks, 0) + 1)"),
            ("min", "least(s.lowest, s.running)"),
            ("max", "greatest(s.highest, s.running)"),
        )
    ),
    *(
        f"""
        CREATE AGGREGATE {INTERNAL}.tick_{name}(float8, timestamptz) (
          SFUNC = {INTERNAL}.ticks_add, STYPE = {INTERNAL}.ticks, INITCOND = '(,,,,,)',
          FINALFUNC = {INTERNAL}.ticks_{name}, PARALLEL = SAFE)
        """
        for name in ("avg", "min", "max")
    ),
)
DROP_FUNCTIONS = (
    *(
        f"DROP AGGREGATE {INTERNAL}.tick_{name}(float8, timestamptz)"
        for name in ("avg", "min", "max")
    ),
    *(f"DROP FUNCTION {INTERNAL}.ticks_{name}" for name in ("avg", "min", "max", "add")),
    f"DROP TYPE {INTERNAL}.ticks",
    *(f"DROP AGGREGATE {INTERNAL}.array_{name}(real[])" for name in ("avg", "min", "max")),
    *(f"DROP FUNCTION {INTERNAL}.elements_{name}" for name in ("avg", "min", "max", "add")),
    f"DROP TYPE {INTERNAL}.elements",
)
