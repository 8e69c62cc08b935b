from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, NameFilter, disk_io

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

# reads, merged, sectors, ms, writes, merged, sectors, ms, in flight, busy ms, weighted ms
ZERO = "0 0 0 0 0 0 0 0 0 0 0"
LATER = "100 0 2000 300 50 0 4000 600 0 2500 20000 0 0 0 0 0 0"


def collector(
    host: FakeHost, *, devices: NameFilter | None = None, linux: bool = True
) -> disk_io.DiskIoCollector:
    settings = CollectorSettings() if devices is None else CollectorSettings(devices=devices)
    return disk_io.DiskIoCollector(settings, host.machine(linux=linux))


def write_stats(host: FakeHost, **devices: str) -> None:
    lines = [f"   8  {n} {name} {columns}" for n, (name, columns) in enumerate(devices.items())]
    host.write_proc("diskstats", "\n".join(lines) + "\n")


def test_the_first_reading_gives_no_rows(host: FakeHost) -> None:
    write_stats(host, sda=LATER)

    assert not collector(host).collect()


def test_rates_are_those_between_two_readings(host: FakeHost) -> None:
    write_stats(host, sda=ZERO)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_stats(host, sda=LATER)
    (sample,) = reader.collect()

    assert sample.device == "sda"
    assert sample.reads_per_s == pytest.approx(10)
    assert sample.writes_per_s == pytest.approx(5)
    assert sample.read_bytes_per_s == pytest.approx(2000 * 512 / 10)
    assert sample.write_bytes_per_s == pytest.approx(4000 * 512 / 10)
    assert sample.read_await_ms == pytest.approx(3)
    assert sample.write_await_ms == pytest.approx(12)
    assert sample.await_ms == pytest.approx(6)
    assert sample.queue_length == pytest.approx(2)
    assert sample.utilization_percent == pytest.approx(25)


def test_an_idle_disk_has_no_waiting_time(host: FakeHost) -> None:
    write_stats(host, sda=LATER)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    (sample,) = reader.collect()

    assert sample.HasField("reads_per_s")
    assert sample.queue_length == 0
    for name in ("await_ms", "read_await_ms", "write_await_ms"):
        assert not sample.HasField(name)


def test_a_busy_clock_that_runs_ahead_is_100_percent(host: FakeHost) -> None:
    write_stats(host, sda=ZERO)
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    write_stats(host, sda="1 0 0 0 0 0 0 0 0 1004 1004")
    (sample,) = reader.collect()

    assert sample.utilization_percent == 100


@pytest.mark.parametrize(
    "later",
    [
        pytest.param("99 0 9000 900 90 0 9000 900 0 9000 90000", id="reads went backwards"),
        pytest.param("200 0 9000 900 90 0 9000 900 0 9000 12", id="weighted time wrapped at 2^32"),
        pytest.param(ZERO, id="all was reset"),
        pytest.param("200 0 9000", id="columns went missing"),
        pytest.param("x 0 9000 900 90 0 9000 900 0 9000 90000", id="not numeric"),
    ],
)
def test_a_disk_whose_counters_can_not_be_trusted_is_left_out_alone(
    host: FakeHost, later: str
) -> None:
    write_stats(host, sda=LATER, sdb=LATER)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_stats(host, sda=later, sdb=LATER)

    assert [sample.device for sample in reader.collect()] == ["sdb"]


def test_a_disk_that_was_reset_is_back_with_the_next_reading(host: FakeHost) -> None:
    write_stats(host, sda=LATER)
    reader = collector(host)
    reader.collect()
    host.advance(10.0)
    write_stats(host, sda=ZERO)
    assert not reader.collect()

    host.advance(10.0)
    write_stats(host, sda=LATER)
    (sample,) = reader.collect()

    assert sample.reads_per_s == pytest.approx(10)


def test_a_replaced_disk_of_the_same_name_is_no_spike(host: FakeHost) -> None:
    host.write_proc("diskstats", f"8 0 sda {ZERO}\n")
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    host.write_proc("diskstats", f"8 16 sda {LATER}\n")

    assert not reader.collect()


def test_whole_disks_are_sampled_and_partitions_loops_and_ram_are_not(host: FakeHost) -> None:
    names = ["sda", "sda1", "nvme0n1", "nvme0n1p1", "md0", "dm-0", "loop0", "ram0", "zram0", "sr0"]
    for name in names:
        host.write_sys(f"class/block/{name}/dev", "8:0")
    host.write_sys("class/block/sda1/partition", "1")
    host.write_sys("class/block/nvme0n1p1/partition", "1")
    write_stats(host, **dict.fromkeys(names, ZERO))
    reader = collector(host)
    reader.collect()

    host.advance(1.0)

    assert [sample.device for sample in reader.collect()] == ["sda", "nvme0n1", "md0", "dm-0"]


def test_sys_knows_better_than_a_name_what_a_partition_is(host: FakeHost) -> None:
    host.write_sys("class/block/xvda1/dev", "202:1")
    host.write_sys("class/block/cciss!c0d0p1/partition", "1")

    assert not disk_io.is_partition(host.machine(), "xvda1")
    assert disk_io.is_partition(host.machine(), "cciss/c0d0p1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sda", False),
        ("sda1", True),
        ("sdaa12", True),
        ("vdb3", True),
        ("xvda1", True),
        ("nvme0n1", False),
        ("nvme0n1p2", True),
        ("mmcblk0", False),
        ("mmcblk0p1", True),
        ("md127", False),
        ("md127p1", True),
        ("dm-3", False),
    ],
)
def test_names_tell_partitions_where_sys_is_hidden(
    host: FakeHost, name: str, expected: bool
) -> None:
    assert disk_io.is_partition(host.machine(), name) is expected


def test_a_partition_that_is_named_is_sampled(host: FakeHost) -> None:
    write_stats(host, sda=ZERO, sda1=ZERO, sda2=ZERO)
    reader = collector(host, devices=NameFilter(include=("sda", "sda1")))
    reader.collect()

    host.advance(1.0)

    assert [sample.device for sample in reader.collect()] == ["sda", "sda1"]


def test_a_kernel_that_shows_nothing_gives_no_rows(host: FakeHost) -> None:
    reader = collector(host)

    assert not reader.collect()
    assert not reader.collect()


def test_elsewhere_what_psutil_does_not_know_is_absent(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = SimpleNamespace(read_count=0, write_count=0, read_bytes=0, write_bytes=0)

    def disk_io_counters(*, perdisk: bool, nowrap: bool) -> dict[str, object]:
        assert perdisk
        assert not nowrap
        return {"disk0": counts}

    monkeypatch.setattr(psutil, "disk_io_counters", disk_io_counters)
    reader = collector(host, linux=False)
    reader.collect()

    host.advance(10.0)
    counts = SimpleNamespace(read_count=20, write_count=0, read_bytes=4096, write_bytes=0)
    (sample,) = reader.collect()

    assert sample.reads_per_s == pytest.approx(2)
    for name in ("await_ms", "read_await_ms", "queue_length", "utilization_percent"):
        assert not sample.HasField(name)


@pytest.mark.parametrize("answer", [None, {}])
def test_elsewhere_a_system_without_disks_gives_no_rows(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    def disk_io_counters(**_: object) -> object:
        return answer

    monkeypatch.setattr(psutil, "disk_io_counters", disk_io_counters)

    assert not collector(host, linux=False).collect()


def test_elsewhere_a_psutil_without_disk_counters_gives_no_rows(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil, "disk_io_counters")

    assert not collector(host, linux=False).collect()


steps = st.tuples(*[st.one_of(st.none(), st.integers(0, 2**64))] * 8)


@given(steps=steps, seconds=st.floats(allow_nan=False, min_value=0))
def test_no_value_is_negative_or_infinite_whatever_the_counters_do(
    steps: tuple[float | None, ...], seconds: float
) -> None:
    sample = disk_io.evaluate("sda", steps, seconds)

    for field, value in sample.ListFields():
        assert field.name == "device" or (math.isfinite(value) and value >= 0)
