from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, cpu

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

STAT = """\
cpu  {total}
cpu0 {first}
cpu1 {second}
intr {interrupts} 0 7 0 0 1 2 3
ctxt {switches}
btime 1795414411
"""
IDLE_CORE = "100 0 50 1000 0 0 0 0 0 0"


def write_stat(
    host: FakeHost,
    *,
    total: str = IDLE_CORE,
    first: str = IDLE_CORE,
    second: str = IDLE_CORE,
    interrupts: int = 0,
    switches: int = 0,
) -> None:
    host.write_proc(
        "stat",
        STAT.format(
            total=total, first=first, second=second, interrupts=interrupts, switches=switches
        ),
    )


def collector(host: FakeHost, *, linux: bool = True) -> cpu.CpuCollector:
    return cpu.CpuCollector(CollectorSettings(), host.machine(linux=linux))


def test_the_first_reading_knows_the_load_only(host: FakeHost) -> None:
    write_stat(host)
    host.write_proc("loadavg", "1.50 0.75 0.25 2/123 4567\n")

    (sample,) = collector(host).collect()

    assert (sample.load1, sample.load5, sample.load15) == (1.5, 0.75, 0.25)
    assert sample.load1_per_core == 0.75
    assert not sample.HasField("usage_percent")
    assert not sample.HasField("context_switches_per_s")
    assert not sample.core_usage_percent


def test_shares_are_those_of_the_time_between_two_readings(host: FakeHost) -> None:
    write_stat(host, total="1000 0 500 9000 100 10 10 10 0 0", interrupts=100, switches=1000)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_stat(host, total="1400 40 700 10000 220 30 70 170 0 0", interrupts=600, switches=5000)
    (sample,) = reader.collect()

    assert sample.user_percent == pytest.approx(20)
    assert sample.nice_percent == pytest.approx(2)
    assert sample.system_percent == pytest.approx(10)
    assert sample.idle_percent == pytest.approx(50)
    assert sample.iowait_percent == pytest.approx(6)
    assert sample.irq_percent == pytest.approx(1)
    assert sample.softirq_percent == pytest.approx(3)
    assert sample.steal_percent == pytest.approx(8)
    assert sample.usage_percent == pytest.approx(100 - 50 - 6)
    assert sample.interrupts_per_s == pytest.approx(50)
    assert sample.context_switches_per_s == pytest.approx(400)


def test_guest_time_is_counted_once(host: FakeHost) -> None:
    write_stat(host, total="0 0 0 0 0 0 0 0 0 0")
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    write_stat(host, total="50 20 0 30 0 0 0 0 50 20")
    (sample,) = reader.collect()

    assert sample.usage_percent == pytest.approx(70)
    assert sample.user_percent + sample.nice_percent + sample.idle_percent == pytest.approx(100)


def test_columns_that_an_old_kernel_lacks_are_absent(host: FakeHost) -> None:
    write_stat(host, total="10 0 10 80")
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    write_stat(host, total="20 0 20 160")
    (sample,) = reader.collect()

    assert sample.usage_percent == pytest.approx(20)
    assert not sample.HasField("iowait_percent")
    assert not sample.HasField("steal_percent")


def test_a_little_iowait_taken_back_by_the_kernel_is_no_reset(host: FakeHost) -> None:
    write_stat(host, total="100 0 0 1000 50 0 0 0 0 0")
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    write_stat(host, total="150 0 0 1050 48 0 0 0 0 0")
    (sample,) = reader.collect()

    assert sample.usage_percent == pytest.approx(50)
    assert sample.iowait_percent == 0


@pytest.mark.parametrize(
    "later",
    [
        pytest.param("1 0 0 5000 0 0 0 0 0 0", id="user went backwards"),
        pytest.param("200 0 0 10 0 0 0 0 0 0", id="idle went back by far"),
        pytest.param("garbage", id="not numeric"),
        pytest.param("", id="no columns"),
        pytest.param("100 0 0 1000 0 0 0 0 0 0", id="no time passed"),
    ],
)
def test_shares_that_can_not_be_told_are_absent_and_the_rest_is_sent(
    host: FakeHost, later: str
) -> None:
    write_stat(host, total="100 0 0 1000 0 0 0 0 0 0", switches=10)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_stat(host, total=later, switches=20)
    (sample,) = reader.collect()

    assert not sample.HasField("usage_percent")
    assert not sample.HasField("idle_percent")
    assert sample.context_switches_per_s == pytest.approx(1)


def test_counters_that_wrapped_are_absent(host: FakeHost) -> None:
    write_stat(host, interrupts=2**64 - 1, switches=2**32)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_stat(host, interrupts=10, switches=5)

    assert not reader.collect()


def test_a_core_that_was_unplugged_leaves_its_place_empty(host: FakeHost) -> None:
    host.write_proc("stat", "cpu0 0 0 0 0\ncpu1 0 0 0 0\ncpu2 0 0 0 0\n")
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    host.write_proc("stat", "cpu0 25 0 0 75\ncpu2 50 0 0 50\n")
    (sample,) = reader.collect()

    assert sample.core_usage_percent[0] == pytest.approx(25)
    assert math.isnan(sample.core_usage_percent[1])
    assert sample.core_usage_percent[2] == pytest.approx(50)


def test_a_core_that_comes_back_is_no_spike(host: FakeHost) -> None:
    host.write_proc("stat", "cpu0 0 0 0 0\n")
    reader = collector(host)
    reader.collect()

    host.advance(1.0)
    host.write_proc("stat", "cpu0 25 0 0 75\ncpu1 90000 0 0 10\n")
    (sample,) = reader.collect()

    assert sample.core_usage_percent[0] == pytest.approx(25)
    assert math.isnan(sample.core_usage_percent[1])


def test_a_kernel_that_shows_nothing_gives_no_sample(host: FakeHost) -> None:
    reader = collector(host)

    assert not reader.collect()
    host.advance(1.0)
    assert not reader.collect()


@pytest.mark.parametrize("raw", [b"", b"1.0 2.0", b"a b c", b"\xff"])
def test_a_strange_loadavg_is_absent(raw: bytes) -> None:
    assert cpu.parse_loadavg(raw) is None


times = st.tuples(*[st.one_of(st.none(), st.integers(0, 2**64))] * len(cpu.STATES))


@given(before=times, after=times, seconds=st.floats(0.001, 1e6))
def test_every_share_lies_between_0_and_100_whatever_the_counters_do(
    before: cpu.Times, after: cpu.Times, seconds: float
) -> None:
    sample = cpu.evaluate(
        cpu.CpuReading(total=before, cores={0: before}),
        cpu.CpuReading(total=after, cores={0: after}),
        seconds,
    )

    for _field, value in sample.ListFields():
        for share in [value] if isinstance(value, float) else value:
            assert 0 <= share <= 100 or math.isnan(share)
    assert not math.isnan(sample.usage_percent)


class Elsewhere:
    """A psutil of a system without iowait, interrupts and steal."""

    def __init__(self) -> None:
        self.busy_s = 0.0

    def cpu_times(self, percpu: bool = False) -> object:
        core = SimpleNamespace(user=self.busy_s, system=1.0, idle=100.0 + self.busy_s, nice=0.0)
        return [core, core] if percpu else core


def test_elsewhere_what_psutil_does_not_know_is_absent(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Elsewhere()
    monkeypatch.setattr(psutil, "cpu_times", elsewhere.cpu_times)
    monkeypatch.delattr(psutil, "cpu_stats")
    monkeypatch.delattr(os, "getloadavg")
    reader = collector(host, linux=False)
    assert not reader.collect()

    host.advance(10.0)
    elsewhere.busy_s = 5.0
    (sample,) = reader.collect()

    assert sample.usage_percent == pytest.approx(50)
    assert list(sample.core_usage_percent) == pytest.approx([50, 50])
    for name in (
        "iowait_percent",
        "irq_percent",
        "steal_percent",
        "load1",
        "load1_per_core",
        "context_switches_per_s",
    ):
        assert not sample.HasField(name)


def test_elsewhere_psutil_itself_answers(host: FakeHost) -> None:
    reader = collector(host, linux=False)
    reader.collect()

    host.advance(1.0)
    (sample,) = reader.collect()

    assert sample.HasField("load1")
    assert sample.HasField("context_switches_per_s")
