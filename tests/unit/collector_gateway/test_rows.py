from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector_gateway import rows
from hostpulse.v1 import telemetry_pb2 as pb
from storage import catalog

NOW = datetime(2026, 2, 2, 14, 30, tzinfo=UTC)
FLOATS = st.floats(width=32) | st.just(0.0)


def full_batch() -> pb.MetricBatch:
    """Return a batch in which every field of every family has a value of its own."""
    batch = pb.MetricBatch()
    for table in catalog.TABLES.values():
        field = pb.MetricBatch.DESCRIPTOR.fields_by_name[table.name]
        holder = getattr(batch, table.name)
        sample = holder.add() if field.is_repeated else holder
        for number, column in enumerate((*table.labels, *table.values), 1):
            if column.sql_type == "text":
                setattr(sample, column.name, f"{column.name}-{number}")
            elif column.sql_type == "jsonb":
                sample.labels["zone"] = "a"
            elif column.sql_type == "real[]":
                sample.core_usage_percent.extend([1.5, math.nan])
            else:
                setattr(sample, column.name, number)
    return batch


def test_every_field_stands_in_its_column_of_the_catalog():
    decoded = rows.decode(full_batch(), NOW, 7)

    assert decoded.rejected == []
    assert list(decoded.rows) == list(catalog.TABLES)
    for name, table in catalog.TABLES.items():
        (row,) = decoded.rows[name]
        assert row[:2] == (NOW, 7)
        assert len(row) == len(table.columns)
        for number, column in enumerate((*table.labels, *table.values), 1):
            value = row[1 + number]
            match column.sql_type:
                case "text":
                    assert value == f"{column.name}-{number}"
                case "jsonb":
                    assert value == {"zone": "a"}
                case "real[]":
                    assert value == [1.5, None]  # a core without a reading
                case _:
                    assert value == number


def test_what_is_missing_is_null_and_what_is_zero_is_zero():
    batch = pb.MetricBatch(
        cpu=pb.CpuSample(usage_percent=0.0), memory=pb.MemorySample(free_bytes=0)
    )

    decoded = rows.decode(batch, NOW, 1)

    cpu = dict(zip(catalog.CPU.columns, decoded.rows["cpu"][0], strict=True))
    assert cpu["usage_percent"] == 0.0
    assert cpu["user_percent"] is None
    assert cpu["core_usage_percent"] is None
    memory = dict(zip(catalog.MEMORY.columns, decoded.rows["memory"][0], strict=True))
    assert memory["free_bytes"] == 0
    assert memory["total_bytes"] is None


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        pytest.param(
            pb.MetricBatch(cpu=pb.CpuSample(load1=math.nan)), "cpu.load1", id="not a number"
        ),
        pytest.param(pb.MetricBatch(cpu=pb.CpuSample(load1=math.inf)), "cpu.load1", id="infinite"),
        pytest.param(pb.MetricBatch(cpu=pb.CpuSample(load1=-1)), "cpu.load1", id="negative"),
        pytest.param(
            pb.MetricBatch(cpu=pb.CpuSample(usage_percent=101)), "cpu.usage_percent", id="share"
        ),
        pytest.param(
            pb.MetricBatch(cpu=pb.CpuSample(core_usage_percent=[5, math.inf])),
            "cpu.core_usage_percent",
            id="infinite core",
        ),
        pytest.param(
            pb.MetricBatch(memory=pb.MemorySample(total_bytes=1 << 63)),
            "memory.total_bytes",
            id="more than a bigint",
        ),
        pytest.param(
            pb.MetricBatch(disk_io=[pb.DiskIoSample(reads_per_s=1)]), "disk_io.device", id="no key"
        ),
        pytest.param(
            pb.MetricBatch(network=[pb.NetworkSample(interface="a\0b")]),
            "network.interface",
            id="NUL",
        ),
        pytest.param(
            pb.MetricBatch(network=[pb.NetworkSample(interface="e" * 1025)]),
            "network.interface",
            id="long key",
        ),
        pytest.param(
            pb.MetricBatch(process=[pb.ProcessSample(pid=1, name="a", cmdline="x" * 4097)]),
            "process.cmdline",
            id="long text",
        ),
        pytest.param(
            pb.MetricBatch(custom=[pb.CustomSample(name="q", value=math.nan)]),
            "custom.value",
            id="custom value",
        ),
        pytest.param(
            pb.MetricBatch(custom=[pb.CustomSample(name="q", labels={"a": "\0"}, value=1)]),
            "custom.labels",
            id="custom label",
        ),
    ],
)
def test_a_bad_sample_is_named_and_the_good_ones_are_kept(bad, expected):
    batch = pb.MetricBatch(tcp=pb.TcpSample(total=1), pressure=pb.PressureSample(io_some_avg10=1))
    batch.MergeFrom(bad)

    decoded = rows.decode(batch, NOW, 1)

    assert [rejected.detail.partition(":")[0] for rejected in decoded.rejected] == [expected]
    assert decoded.rejected[0].reason == pb.REJECT_REASON_INVALID
    assert set(decoded.rows) == {"tcp", "pressure"}


def test_a_rejected_sample_is_named_by_its_index_over_all_families():
    batch = pb.MetricBatch(
        cpu=pb.CpuSample(load1=1),
        disk_io=[pb.DiskIoSample(device="a"), pb.DiskIoSample(device="b", await_ms=-1)],
        network=[pb.NetworkSample(interface="e"), pb.NetworkSample(interface="")],
    )

    decoded = rows.decode(batch, NOW, 1)

    assert [rejected.index for rejected in decoded.rejected] == [2, 4]
    assert [row[2] for row in decoded.rows["disk_io"]] == ["a"]


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(
            pb.MetricBatch(agent_health=pb.AgentHealthSample(clock_offset_ms=-5)), id="clock"
        ),
        pytest.param(pb.MetricBatch(custom=[pb.CustomSample(name="q", value=-1)]), id="custom"),
        pytest.param(
            pb.MetricBatch(process=[pb.ProcessSample(pid=1, name="a", cpu_percent=250)]),
            id="several cores",
        ),
        pytest.param(
            pb.MetricBatch(disk_io=[pb.DiskIoSample(device="a", utilization_percent=100.4)]),
            id="jitter",
        ),
    ],
)
def test_what_may_leave_the_usual_range_is_kept(good):
    decoded = rows.decode(good, NOW, 1)

    assert decoded.rejected == []
    assert len(decoded.rows) == 1


@settings(max_examples=200)
@given(
    load1=FLOATS,
    cores=st.lists(FLOATS, max_size=4),
    total=st.integers(min_value=0, max_value=2**64 - 1),
    mount=st.text(max_size=8),
    value=st.floats(),
)
def test_whatever_a_message_holds_is_kept_sound_or_rejected_once(load1, cores, total, mount, value):
    batch = pb.MetricBatch(
        cpu=pb.CpuSample(load1=load1, core_usage_percent=cores),
        disk_usage=[pb.DiskUsageSample(mount=mount, total_bytes=total)],
        custom=[pb.CustomSample(name=mount, value=value)],
    )

    decoded = rows.decode(batch, NOW, 1)

    kept = sum(map(len, decoded.rows.values()))
    assert kept + len(decoded.rejected) == rows.count_samples(batch) == 3
    for table, stored in decoded.rows.items():
        for row in stored:
            for item in row[2:]:
                if isinstance(item, float | int):
                    assert math.isfinite(item)
                    assert abs(item) < 2**63
                    assert item >= 0 or table == "custom"
                if isinstance(item, str):
                    assert "\0" not in item
