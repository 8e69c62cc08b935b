"""The fields of a posted family: which column each is, and what it may be.

A column can be given under its own name (`memory.used_bytes`) or under an alias of the catalog
(`memory.used_gb`). Nothing that is posted can be negative, and no share is above 100 percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOAT4_MAX = (2 - 2**-23) * 2.0**127
BIGINT_MAX = 2**63 - 1
CORES_MAX = 4096
LOADS = ("load1", "load5", "load15")


class InvalidNumber(ValueError):
    """A value can't be stored; `expected` says what could."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One number of a family; stored = given / factor."""

    table: str
    column: catalog.Column
    factor: float = 1.0

    @property
    def expected(self) -> str:
        """What may be given."""
        kind = "a whole number" if self._is_whole else "a number"
        return f"{kind} from 0 to {self._maximum:.7g}" if self._is_share else f"{kind}, at least 0"

    @property
    def _is_share(self) -> bool:
        return self.column.unit == "percent"

    @property
    def _is_integer(self) -> bool:
        return self.column.sql_type == "bigint"

    @property
    def _is_whole(self) -> bool:
        return self._is_integer and self.factor == 1

    @property
    def _maximum(self) -> float:
        """The most that the column can hold."""
        if self._is_share:
            return 100
        return BIGINT_MAX if self._is_integer else FLOAT4_MAX

    def stored(self, value: object) -> int | float:
        """Return what to store for a value as JSON gave it.

        Raises:
            InvalidNumber: it is no number, or out of range.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidNumber(self.expected)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidNumber(f"{self.expected}, and finite")
        if value < 0:
            raise InvalidNumber(self.expected)
        if value > self._maximum * max(self.factor, 1):
            raise InvalidNumber(f"{self.expected}, at most {self._maximum * self.factor:.7g}")
        scaled = value / self.factor if self.factor != 1 else value
        if self._is_whole and scaled != int(scaled):
            raise InvalidNumber(self.expected)
        if scaled > self._maximum:
            raise InvalidNumber(f"{self.expected}, at most {self._maximum * self.factor:.7g}")
        return min(round(scaled), BIGINT_MAX) if self._is_integer else float(scaled)


def _fields(family: str, *tables: catalog.Table) -> Mapping[str, Field]:
    """List the columns of some tables, and the family's aliases of them."""
    found = {
        column.name: Field(table=table.name, column=column)
        for table in tables
        for column in table.values
        if column.sql_type in {"real", "bigint"}
    }
    for alias, metric in catalog.ALIASES.items():
        owner, _, name = alias.partition(".")
        if owner == family and metric.column.sql_type != "real[]" and name != "load_average":
            found[name] = Field(table=metric.table.name, column=metric.column, factor=metric.factor)
    return MappingProxyType(found)


CPU = _fields("cpu", catalog.CPU)
MEMORY = _fields("memory", catalog.MEMORY)
DISK = _fields("disk", catalog.DISK_USAGE, catalog.DISK_IO)
NETWORK = _fields("network", catalog.NETWORK)
CORE = Field(
    table=catalog.CPU.name,
    column=catalog.Column(name="core_usage_percent", sql_type="real", unit="percent"),
)
