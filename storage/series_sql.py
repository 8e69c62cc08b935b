"""The SQL of a series: one statement for its points, one to count how many there are.

Identifiers come from the catalog and nowhere else; values are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import catalog

if TYPE_CHECKING:
    from datetime import datetime

    from storage.tiers import Tier


class SeriesSql:
    """A statement that grows by predicates; `$1` to `$3` are server, start and end.

    Args:
        metric: what to read.
        tier: where to read it; of a rollup, all buckets count that the range touches.
        aggregate: avg, min or max; raw samples need one for steps only.
        server_id: whose samples.
        start: the first moment.
        end: the first moment that does not count any more.
    """

    def __init__(
        self,
        metric: catalog.Metric,
        tier: Tier,
        *,
        aggregate: str,
        server_id: int,
        start: datetime,
        end: datetime,
    ) -> None:
        self.arguments: list[object] = [server_id, tier.begin(start), end]
        self._metric = metric
        self._tier = tier
        self._aggregate = aggregate
        self._predicates = [
            "t.server_id = $1",
            "t.time >= $2",
            "t.time < $3",
            f"{self._value()} IS NOT NULL",
        ]

    def where_equal(self, label: str, value: str | int) -> None:
        """Keep the series whose label of the table has this value."""
        self._predicates.append(f"t.{label} = {self._argument(value)}")

    def where_any(self, label: str, values: list[str]) -> None:
        """Keep the series whose label of the table has one of these values."""
        self._predicates.append(f"t.{label} = ANY({self._argument(values)}::text[])")

    def where_json(self, column: str, key: str, value: str) -> None:
        """Keep the series in whose jsonb column `key` has this value."""
        placeholder = self._argument(key)
        self._predicates.append(f"t.{column} ->> {placeholder}::text = {self._argument(value)}")

    def where_element(self, index: int) -> None:
        """Keep one element of an array, counted from 0."""
        self._predicates.append(f"e.position = {self._argument(index + 1)}")

    def rows(self, *, limit: int) -> str:
        """Return the statement for samples or buckets as they are: time, value, labels."""
        columns = ", ".join(["t.time", self._value(), *self._labels()])
        return f"SELECT {columns} {self._samples()} ORDER BY 1 LIMIT {limit}"

    def stepped(self, *, step_s: int, limit: int) -> str:
        """Return the statement for one value a step: begin of the step, value, labels."""
        labels = self._labels()
        moment = f"date_bin('{step_s} s', t.time, TIMESTAMPTZ 'epoch')"
        columns = ", ".join([moment, self._combined(), *labels])
        groups = ", ".join(["1", *(str(3 + index) for index in range(len(labels)))])
        return f"SELECT {columns} {self._samples()} GROUP BY {groups} ORDER BY 1 LIMIT {limit}"

    def count(self) -> str:
        """Return the statement that counts the series."""
        labels = ", ".join(self._labels()) or "true"
        return f"SELECT count(*) FROM (SELECT DISTINCT {labels} {self._samples()}) s"  # noqa: S608

    def _combined(self) -> str:
        """Return the expression of the values of a step put together.

        Averages of buckets are weighted by the rows, or ticks of processes, that they are made of:
        a row whose value is missing counts too, so that this is exact only where none is.
        """
        value = self._value()
        if self._aggregate != "avg":
            return f"{self._aggregate}({value})"
        if not self._tier.width_s:
            return f"avg({value}::float8)"  # the average of integers would be numeric
        weight = "ticks_seen" if self._metric.table is catalog.PROCESS else "sample_count"
        return f"sum({value}::float8 * t.{weight}::float8) / sum(t.{weight}::float8)"

    def _argument(self, value: object) -> str:
        """Add an argument and return its placeholder."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def _labels(self) -> list[str]:
        """Return an expression for each label of the series."""
        return [
            "e.position - 1" if name == self._metric.per_element else f"t.{name}"
            for name in self._tier.label_names(self._metric)
        ]

    def _value(self) -> str:
        """Return the expression of the value; NaN in an array is an element without a reading."""
        return "nullif(e.value, 'NaN')" if self._metric.per_element else f"t.{self._column}"

    @property
    def _column(self) -> str:
        """Rollups have the average under the metric's own name."""
        extreme = self._tier.width_s and self._aggregate != "avg"
        return f"{self._metric.column.name}{f'_{self._aggregate}' if extreme else ''}"

    def _samples(self) -> str:
        """Return FROM and WHERE."""
        source = f"{self._metric.table.name}{self._tier.suffix} t"
        if self._metric.per_element:
            source += (
                f" CROSS JOIN LATERAL unnest(t.{self._column})"
                " WITH ORDINALITY AS e(value, position)"
            )
        return f"FROM {source} WHERE {' AND '.join(self._predicates)}"
