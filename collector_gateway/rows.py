"""From a MetricBatch to rows for COPY: the one place where messages and tables meet.

A dataclass a row would cost more than the database does, so rows are tuples in the order of the
catalog, built by one compiled expression a family. What is checked is what PostgreSQL would
refuse or should not keep; a bad sample is left out and named by its index, the rest is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from hostpulse.v1 import telemetry_pb2 as pb
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    Row = tuple[Any, ...]

TEXT_MAX_CHARS = 4096
LABEL_MAX_CHARS = 1024  # of what tells series apart: it becomes part of keys
LABELS_MAX = 32
SHARE_MAX_PERCENT = 100.01  # rounding of 32-bit floats
BIGINT_MAX = (1 << 63) - 1
ROOT_OF_BIGINT_MAX = math.sqrt(1 << 62)  # leaves room for rounding

# Families whose percentages are shares of a whole. A process may use several cores, and a disk's
# or an interface's utilization may pass 100 by the jitter of two clocks.
_SHARES = {
    table: [
        table.columns.index(c.name)
        for c in table.values
        if c.sql_type == "real" and c.unit == "percent"
    ]
    for table in (catalog.CPU, catalog.MEMORY, catalog.DISK_USAGE, catalog.PRESSURE)
}
_REQUIRED = {"mount", "device", "interface", "name"}  # where they tell series apart
_MAY_BE_NEGATIVE = {"agent_health.clock_offset_ms", "custom.value"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The rows of a batch by table, and what was left out of them."""

    rows: dict[str, list[Row]] = field(default_factory=dict[str, "list[Row]"])
    rejected: list[pb.RejectedSample] = field(default_factory=list[pb.RejectedSample])


def _expression(table: catalog.Table) -> str:
    """Write the tuple of one sample `m` as an expression.

    Every scalar may be missing, and asking `HasField` for each costs three times as much as
    asking only where the value is falsy.
    """
    message = pb.MetricBatch.DESCRIPTOR.fields_by_name[table.name].message_type
    assert message is not None  # noqa: S101 - every family is a message; said for the type checker
    parts = ["time", "server_id"]
    for column in (*table.labels, *table.values):
        name = column.name
        if column.sql_type == "real[]":
            parts.append(f"[v if v == v else None for v in m.{name}] or None")
        elif column.sql_type == "jsonb":
            parts.append(f"dict(m.{name})")
        elif not message.fields_by_name[name].has_presence:
            parts.append(f"m.{name}")
        else:
            parts.append(f'm.{name} or (m.{name} if m.HasField("{name}") else None)')
    return f"lambda m, time, server_id: ({', '.join(parts)})"


class _Family:
    """How one table's samples become rows, and what is wrong with a row."""

    def __init__(self, table: catalog.Table) -> None:
        self.table = table
        self.repeated = pb.MetricBatch.DESCRIPTOR.fields_by_name[table.name].is_repeated
        # Compiled from the catalog when this module is imported; nothing of a message gets here.
        self.row: Callable[[Any, datetime, int], Row] = eval(_expression(table))  # noqa: S307
        self.first_value = 2 + len(table.labels)
        self.array = table.values[-1].sql_type == "real[]"  # an array stands last
        self.values = itemgetter(slice(self.first_value, -1 if self.array else None))
        self.texts = [table.columns.index(c.name) for c in table.labels if c.sql_type == "text"]
        self.strings = itemgetter(slice(min(self.texts, default=0), max(self.texts, default=0) + 1))
        self.keys = [table.columns.index(name) for name in table.series if name in _REQUIRED]
        self.shares = _SHARES.get(table, [])
        self.percents = itemgetter(*self.shares) if self.shares else None
        self.signed = {
            table.columns.index(c.name)
            for c in table.values
            if f"{table.name}.{c.name}" in _MAY_BE_NEGATIVE
        }

    def samples(self, batch: pb.MetricBatch) -> Sequence[Any]:
        """Return the family's samples in a batch."""
        name = self.table.name
        if self.repeated:
            return getattr(batch, name)
        return (getattr(batch, name),) if batch.HasField(name) else ()  # pyright: ignore[reportArgumentType]

    def has_keys(self, rows: list[Row]) -> bool:
        """Return whether every row has what tells its series apart."""
        return all(row[i] for row in rows for i in self.keys)

    def fault(self, row: Row) -> str | None:
        """Return what is wrong with a row in words, None where nothing is."""
        for i in (*self.texts, *self.keys):
            name, value = self.table.columns[i], row[i]
            if not isinstance(value, str):
                continue
            if not value and i in self.keys:
                return f"{name}: expected a name, got an empty one"
            most = LABEL_MAX_CHARS if i in self.keys else TEXT_MAX_CHARS
            if len(value) > most or "\0" in value:
                return f"{name}: expected at most {most} characters without NUL, got {value[:40]!r}"
        for i in range(self.first_value, len(row)):
            column = self.table.columns[i]
            values: Iterable[float | None] = row[i] or () if isinstance(row[i], list) else (row[i],)
            for value in values:
                if value is None:
                    continue
                if not math.isfinite(value) or abs(value) > BIGINT_MAX:
                    return f"{column}: expected a finite number, got {value}"
                if value < 0 and i not in self.signed:
                    return f"{column}: expected 0 or more, got {value}"
                if value > SHARE_MAX_PERCENT and (i in self.shares or isinstance(row[i], list)):
                    return f"{column}: expected at most 100 percent, got {value}"
        if self.table is catalog.CUSTOM:
            return _custom_fault(row[3])
        return None


def _custom_fault(labels: dict[str, str]) -> str | None:
    """Return what is wrong with the labels of a custom metric."""
    if len(labels) > LABELS_MAX:
        return f"labels: expected at most {LABELS_MAX}, got {len(labels)}"
    for text in chain(labels, labels.values()):
        if len(text) > LABEL_MAX_CHARS or "\0" in text:
            return f"labels: expected at most {LABEL_MAX_CHARS} characters each, got {text[:40]!r}"
    return None


FAMILIES = tuple(_Family(table) for table in catalog.TABLES.values())
_lists = attrgetter(*(family.table.name for family in FAMILIES if family.repeated))
_ONE_A_BATCH = [family.table.name for family in FAMILIES if not family.repeated]
_CUSTOM = next(family for family in FAMILIES if family.table is catalog.CUSTOM)


def count_samples(batch: pb.MetricBatch) -> int:
    """Return how many samples a batch holds; asked of every batch that comes."""
    return sum(map(len, _lists(batch))) + sum(map(batch.HasField, _ONE_A_BATCH))


def decode(batch: pb.MetricBatch, time: datetime, server_id: int) -> Decoded:
    """Turn a batch into rows stamped with `time`; never raises on what a message can hold."""
    built: list[tuple[_Family, list[Row]]] = []
    for family in FAMILIES:
        if samples := family.samples(batch):
            build = family.row
            built.append((family, [build(sample, time, server_id) for sample in samples]))
    if _look_sound(built):
        return Decoded(rows={family.table.name: rows for family, rows in built})
    return _without_faulty(built)


def _look_sound(built: list[tuple[_Family, list[Row]]]) -> bool:
    """Check all rows at once at the speed of C; False means that a closer look is due.

    One pass finds all that a number can be: the root of a negative raises, NaN and infinity stay in
    the sum, and while the sum is below the root of 2^63 no value is above 2^63.
    """
    numbers = [map(family.values, rows) for family, rows in built]
    shares = [map(family.percents, rows) for family, rows in built if family.percents]
    texts = [map(family.strings, rows) for family, rows in built if family.texts]
    arrays = [row[-1] for family, rows in built if family.array for row in rows if row[-1]]
    try:
        found = chain.from_iterable(chain(*numbers, arrays))
        if not sum(map(math.sqrt, filter(None, found))) < ROOT_OF_BIGINT_MAX:
            return False
    except ValueError:
        return False
    found = chain.from_iterable(chain(*shares, arrays))
    if max(filter(None, found), default=0.0) > SHARE_MAX_PERCENT:
        return False
    strings = list(filter(None, chain.from_iterable(chain(*texts))))
    return (
        max(map(len, strings), default=0) <= LABEL_MAX_CHARS
        and "\0" not in "".join(strings)
        and all(family.has_keys(rows) for family, rows in built if family.keys)
        and all(family is not _CUSTOM for family, _ in built)
    )


def _without_faulty(built: list[tuple[_Family, list[Row]]]) -> Decoded:
    """Keep the rows without fault and name the others by their index in the batch."""
    decoded = Decoded()
    index = 0
    for family, rows in built:
        sound: list[Row] = []
        for row in rows:
            if (fault := family.fault(row)) is None:
                sound.append(row)
            else:
                detail = f"{family.table.name}.{fault}"
                reason = pb.REJECT_REASON_INVALID
                decoded.rejected.append(
                    pb.RejectedSample(index=index, reason=reason, detail=detail)
                )
            index += 1
        if sound:
            decoded.rows[family.table.name] = sound
    return decoded
