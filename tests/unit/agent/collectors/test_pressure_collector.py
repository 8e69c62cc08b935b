from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, pressure

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

SOME = "some avg10={some} avg60=0.00 avg300=0.00 total=123\n"
FULL = "full avg10={full} avg60=0.00 avg300=0.00 total=45\n"


def collector(host: FakeHost, *, linux: bool = True) -> pressure.PressureCollector:
    return pressure.PressureCollector(CollectorSettings(), host.machine(linux=linux))


def test_the_kernels_averages_over_10_seconds_are_sent(host: FakeHost) -> None:
    host.write_proc("pressure/cpu", (SOME + FULL).format(some="1.50", full="0.00"))
    host.write_proc("pressure/memory", (SOME + FULL).format(some="2.50", full="0.50"))
    host.write_proc("pressure/io", (SOME + FULL).format(some="3.50", full="1.25"))

    (sample,) = collector(host).collect()

    assert sample.cpu_some_avg10 == 1.5
    assert (sample.memory_some_avg10, sample.memory_full_avg10) == (2.5, 0.5)
    assert (sample.io_some_avg10, sample.io_full_avg10) == (3.5, 1.25)


def test_an_idle_host_reports_zeros(host: FakeHost) -> None:
    host.write_proc("pressure/cpu", SOME.format(some="0.00"))

    (sample,) = collector(host).collect()

    assert sample.HasField("cpu_some_avg10")
    assert not sample.HasField("io_some_avg10")


def test_a_kernel_without_pressure_gives_no_sample(host: FakeHost) -> None:
    assert not collector(host).collect()


def test_other_systems_give_no_sample(host: FakeHost) -> None:
    host.write_proc("pressure/cpu", SOME.format(some="1.00"))

    assert not collector(host, linux=False).collect()


@pytest.mark.parametrize(
    "raw", [b"", b"\n\n", b"some", b"some avg10=", b"some avg10=x", b"some avg10=nan", b"\xff=\xff"]
)
def test_a_strange_file_has_no_averages(raw: bytes) -> None:
    assert pressure.parse(raw) == {}


@given(raw=st.binary())
def test_any_bytes_can_be_parsed(raw: bytes) -> None:
    pressure.parse(raw)
