"""Which rules one statement can serve: the same table, like windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alerting import rules

SHORT_WINDOW_S = 900.0  # rules up to this share a query; longer ones must not slow them down


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that one statement can serve: the same table, like windows."""

    table: catalog.Table
    element: str | None
    rules: tuple[rules.Rule, ...]

    @property
    def for_max_s(self) -> float:
        """The longest `for` of its rules."""
        return max(rule.for_max_s for rule in self.rules)


def groups(chosen: Iterable[rules.Rule]) -> list[Group]:
    """Sort the rules on metrics of the catalog by the statement that serves them."""
    sorted_rules: dict[tuple[str, str | None, int], list[rules.Rule]] = {}
    for rule in chosen:
        metric = catalog.find_metric(rule.metric)
        long = int(rule.for_max_s > SHORT_WINDOW_S) * rule.for_max_s.__ceil__().bit_length()
        sorted_rules.setdefault((metric.table.name, metric.per_element, long), []).append(rule)
    return [
        Group(table=catalog.TABLES[table], element=element, rules=tuple(members))
        for (table, element, _), members in sorted_rules.items()
    ]
