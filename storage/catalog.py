"""The one list of what is measured: tables, columns, units, labels, and their other names.

API, rules, dashboards and docs come from here. A metric is `<table>.<column>`; its unit is the
base unit in the column's name. An alias is another spelling with a factor: `memory.total_gb`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SqlType = Literal["real", "double precision", "bigint", "text", "jsonb", "real[]"]

GIBIBYTE = float(1 << 30)  # people's GB of memory and disks
MEGABYTE = 1e6  # disk rates are decimal
BYTES_PER_S_PER_MBPS = 1e6 / 8  # network rates are decimal megabits


class UnknownMetric(LookupError):
    """No metric or alias has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a metric table; `unit` is None where the value is no quantity."""

    name: str
    sql_type: SqlType
    unit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A raw metric table: `time, server_id`, then labels, then values, in this order everywhere.

    `series` are the labels that tell the series of one server apart; the other labels describe.
    """

    name: str
    labels: tuple[Column, ...]
    values: tuple[Column, ...]
    series: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All column names, in the order of the table."""
        return ("time", "server_id", *(c.name for c in (*self.labels, *self.values)))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The columns that a series can be chosen by."""
        return tuple(c.name for c in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a name stands for: `value = stored x factor`, in `unit`.

    `name` is the canonical `<table>.<column>`. `per_element` is the label under which the
    elements of an array column are series of their own.
    """

    name: str
    table: Table
    column: Column
    unit: str
    factor: float = 1.0
    per_element: str | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that a series of this metric is told apart by."""
        return (*self.table.series, *((self.per_element,) if self.per_element else ()))


# The unit is the end of the name, the first that fits; names without one are counts or loads.
_UNIT_OF_SUFFIX = MappingProxyType(
    {
        "_bytes_per_s": "bytes_per_s",
        "_packets_per_s": "packets_per_s",
        "_per_s": "per_s",
        "_percent": "percent",
        "_bytes": "bytes",
        "_ms": "ms",
        "_mbps": "mbps",
        "_avg10": "percent",
    }
)


def _unit(name: str) -> str:
    """Return the unit that a column's name ends in, else `1` (a bare number)."""
    return next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if name.endswith(suffix)), "1")


def _columns(sql_type: SqlType, names: str, *, quantity: bool = True) -> tuple[Column, ...]:
    """Make columns of one type from space-separated names."""
    return tuple(
        Column(name=name, sql_type=sql_type, unit=_unit(name) if quantity else None)
        for name in names.split()
    )


def _labels(names: str) -> tuple[Column, ...]:
    """Make text columns that identify a series."""
    return _columns("text", names, quantity=False)


CPU = Table(
    name="cpu",
    labels=(),
    values=(
        *_columns(
            "real",
            "usage_percent user_percent system_percent nice_percent idle_percent iowait_percent "
            "irq_percent softirq_percent steal_percent load1 load5 load15 load1_per_core "
            "context_switches_per_s interrupts_per_s",
        ),
        *_columns("real[]", "core_usage_percent"),
    ),
)
MEMORY = Table(
    name="memory",
    labels=(),
    values=(
        *_columns("bigint", "total_bytes used_bytes"),
        *_columns("real", "used_percent"),
        *_columns("bigint", "available_bytes"),
        *_columns("real", "available_percent"),
        *_columns(
            "bigint", "free_bytes buffers_bytes cached_bytes swap_total_bytes swap_used_bytes"
        ),
        *_columns("real", "swap_used_percent page_faults_per_s major_page_faults_per_s"),
    ),
)
DISK_USAGE = Table(
    name="disk_usage",
    series=("mount",),
    labels=_labels("mount device fstype"),
    values=(
        *_columns("bigint", "total_bytes used_bytes free_bytes"),
        *_columns("real", "used_percent"),
        *_columns("bigint", "inodes_total inodes_used"),
        *_columns("real", "inodes_used_percent"),
    ),
)
DISK_IO = Table(
    name="disk_io",
    series=("device",),
    labels=_labels("device"),
    values=_columns(
        "real",
        "read_bytes_per_s write_bytes_per_s reads_per_s writes_per_s await_ms read_await_ms "
        "write_await_ms queue_length utilization_percent",
    ),
)
NETWORK = Table(
    name="network",
    series=("interface",),
    labels=_labels("interface"),
    values=_columns(
        "real",
        "rx_bytes_per_s tx_bytes_per_s rx_packets_per_s tx_packets_per_s rx_drops_per_s "
        "tx_drops_per_s rx_errors_per_s tx_errors_per_s packet_loss_percent speed_mbps "
        "utilization_percent",
    ),
)
TCP = Table(
    name="tcp",
    labels=(),
    values=_columns(
        "bigint",
        "total established syn_sent syn_recv fin_wait1 fin_wait2 time_wait close close_wait "
        "last_ack listen closing",
    ),
)
PROCESS = Table(
    name="process",
    series=("pid", "name", "username"),
    labels=(
        *_columns("bigint", "pid", quantity=False),
        *_labels("name username cmdline"),
    ),
    values=(
        *_columns("real", "cpu_percent"),
        *_columns("bigint", "memory_rss_bytes"),
        *_columns("real", "memory_percent"),
        *_columns("bigint", "cpu_rank memory_rank"),
    ),
)
PRESSURE = Table(
    name="pressure",
    labels=(),
    values=_columns(
        "real",
        "cpu_some_avg10 memory_some_avg10 memory_full_avg10 io_some_avg10 io_full_avg10",
    ),
)
CUSTOM = Table(
    name="custom",
    series=("name", "labels"),
    labels=(*_labels("name"), *_columns("jsonb", "labels", quantity=False)),
    values=_columns("double precision", "value"),
)
AGENT_HEALTH = Table(
    name="agent_health",
    labels=(),
    values=(
        *_columns("real", "cpu_percent"),
        *_columns("bigint", "memory_rss_bytes"),
        *_columns("real", "collect_ms"),
        *_columns("bigint", "spool_batches"),
        *_columns("bigint", "spool_bytes"),
        *_columns("bigint", "sent_batches failed_sends dropped_samples"),
        *_columns("real", "clock_offset_ms"),
        *_columns("bigint", "stuck_collectors unspooled_batches"),
    ),
)

# The order of the wire: a sample's index in a batch counts over the families in this order.
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            CPU,
            MEMORY,
            DISK_USAGE,
            DISK_IO,
            NETWORK,
            TCP,
            PROCESS,
            PRESSURE,
            CUSTOM,
            AGENT_HEALTH,
        )
    }
)


def _canonical() -> dict[str, Metric]:
    """List every value column under its canonical name."""
    return {
        f"{table.name}.{column.name}": Metric(
            name=f"{table.name}.{column.name}",
            table=table,
            column=column,
            unit=column.unit or "1",
            per_element="core" if column.sql_type == "real[]" else None,
        )
        for table in TABLES.values()
        for column in table.values
    }


METRICS: Mapping[str, Metric] = MappingProxyType(_canonical())


def _alias(target: str, unit: str | None = None, factor: float = 1.0) -> Metric:
    """Give a metric another unit."""
    metric = METRICS[target]
    return Metric(
        name=metric.name,
        table=metric.table,
        column=metric.column,
        unit=unit or metric.unit,
        factor=factor,
        per_element=metric.per_element,
    )


ALIASES: Mapping[str, Metric] = MappingProxyType(
    {
        "cpu.cores": _alias("cpu.core_usage_percent"),
        "cpu.load_average": _alias("cpu.load1"),
        "memory.total_gb": _alias("memory.total_bytes", "gb", 1 / GIBIBYTE),
        "memory.used_gb": _alias("memory.used_bytes", "gb", 1 / GIBIBYTE),
        "memory.available_gb": _alias("memory.available_bytes", "gb", 1 / GIBIBYTE),
        "disk.total_gb": _alias("disk_usage.total_bytes", "gb", 1 / GIBIBYTE),
        "disk.used_gb": _alias("disk_usage.used_bytes", "gb", 1 / GIBIBYTE),
        "disk.free_gb": _alias("disk_usage.free_bytes", "gb", 1 / GIBIBYTE),
        "disk.used_percent": _alias("disk_usage.used_percent"),
        "disk.inodes_used_percent": _alias("disk_usage.inodes_used_percent"),
        "disk.read_mbps": _alias("disk_io.read_bytes_per_s", "megabytes_per_s", 1 / MEGABYTE),
        "disk.write_mbps": _alias("disk_io.write_bytes_per_s", "megabytes_per_s", 1 / MEGABYTE),
        "network.rx_mbps": _alias("network.rx_bytes_per_s", "mbps", 1 / BYTES_PER_S_PER_MBPS),
        "network.tx_mbps": _alias("network.tx_bytes_per_s", "mbps", 1 / BYTES_PER_S_PER_MBPS),
        "network.rx_packets": _alias("network.rx_packets_per_s"),
        "network.tx_packets": _alias("network.tx_packets_per_s"),
    }
)


def find_metric(name: str) -> Metric:
    """Look a metric up by its canonical name or an alias.

    Raises:
        UnknownMetric: neither is known; the message proposes the nearest names.
    """
    found = METRICS.get(name) or ALIASES.get(name)
    if found is not None:
        return found
    near = get_close_matches(name, [*METRICS, *ALIASES], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownMetric(f"expected a metric of the catalog, got {name!r}{hint}")
