from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, memory

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

MEMINFO = """\
MemTotal:       1000 kB
MemFree:         200 kB
MemAvailable:    600 kB
Buffers:          50 kB
Cached:          300 kB
SwapCached:        0 kB
SwapTotal:       400 kB
SwapFree:        300 kB
SReclaimable:     20 kB
HugePages_Total:   0
"""


def collector(host: FakeHost, *, linux: bool = True) -> memory.MemoryCollector:
    return memory.MemoryCollector(CollectorSettings(), host.machine(linux=linux))


def test_sizes_follow_the_documented_definitions(host: FakeHost) -> None:
    host.write_proc("meminfo", MEMINFO)

    (sample,) = collector(host).collect()

    assert sample.total_bytes == 1000 * 1024
    assert sample.used_bytes == 400 * 1024
    assert sample.used_percent == pytest.approx(40)
    assert sample.available_bytes == 600 * 1024
    assert sample.available_percent == pytest.approx(60)
    assert sample.free_bytes == 200 * 1024
    assert sample.buffers_bytes == 50 * 1024
    assert sample.cached_bytes == 320 * 1024
    assert sample.swap_total_bytes == 400 * 1024
    assert sample.swap_used_bytes == 100 * 1024
    assert sample.swap_used_percent == pytest.approx(25)
    assert not sample.HasField("page_faults_per_s")


def test_faults_are_those_since_the_last_reading(host: FakeHost) -> None:
    host.write_proc("meminfo", MEMINFO)
    host.write_proc("vmstat", "nr_free_pages 5\npgfault 1000\npgmajfault 10\n")
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    host.write_proc("vmstat", "nr_free_pages 5\npgfault 1500\npgmajfault 30\n")
    (sample,) = reader.collect()

    assert sample.page_faults_per_s == pytest.approx(50)
    assert sample.major_page_faults_per_s == pytest.approx(2)


def test_faults_that_went_backwards_are_absent_and_the_rest_is_sent(host: FakeHost) -> None:
    host.write_proc("meminfo", MEMINFO)
    host.write_proc("vmstat", "pgfault 1000\npgmajfault 10\n")
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    host.write_proc("vmstat", "pgfault 3\npgmajfault 20\n")
    (sample,) = reader.collect()

    assert not sample.HasField("page_faults_per_s")
    assert sample.major_page_faults_per_s == pytest.approx(1)
    assert sample.HasField("used_percent")


def test_a_host_without_swap_has_no_swap_percentage(host: FakeHost) -> None:
    host.write_proc("meminfo", "MemTotal: 10 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")

    (sample,) = collector(host).collect()

    assert sample.HasField("swap_total_bytes")
    assert not sample.HasField("swap_used_percent")


@pytest.mark.parametrize(
    ("meminfo", "absent"),
    [
        pytest.param("MemTotal: 10 kB\nMemFree: 5 kB\n", "used_bytes", id="no MemAvailable"),
        pytest.param("MemTotal: 10 kB\nMemAvailable: 11 kB\n", "used_bytes", id="more than all"),
        pytest.param("MemTotal: 10 kB\nCached:\n", "cached_bytes", id="no number"),
        pytest.param("MemTotal: 10 kB\nCached: -3 kB\n", "cached_bytes", id="negative"),
        pytest.param("MemTotal: 10 kB\nSwapTotal: 5 kB\n", "swap_used_bytes", id="no SwapFree"),
    ],
)
def test_what_can_not_be_had_is_absent(host: FakeHost, meminfo: str, absent: str) -> None:
    host.write_proc("meminfo", meminfo)

    (sample,) = collector(host).collect()

    assert not sample.HasField(absent)


def test_a_kernel_that_shows_nothing_gives_no_sample(host: FakeHost) -> None:
    assert not collector(host).collect()


@given(meminfo=st.binary(), vmstat=st.binary())
def test_any_bytes_can_be_parsed(meminfo: bytes, vmstat: bytes) -> None:
    assert memory.parse(meminfo, vmstat).total is None


def test_elsewhere_what_psutil_does_not_know_is_absent(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(total=1000, available=250, free=100)
    )
    monkeypatch.delattr(psutil, "swap_memory")
    reader = collector(host, linux=False)
    reader.collect()

    host.advance(10.0)
    (sample,) = reader.collect()

    assert sample.used_percent == pytest.approx(75)
    for name in ("buffers_bytes", "cached_bytes", "swap_total_bytes", "page_faults_per_s"):
        assert not sample.HasField(name)
