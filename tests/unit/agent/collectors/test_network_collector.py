from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, NameFilter, network

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

HEAD = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
"""
ZERO = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
LATER = "12500000 900 20 50 0 0 0 0 2500000 50 10 0 0 0 0 0"


def collector(
    host: FakeHost, settings: CollectorSettings | None = None, *, linux: bool = True
) -> network.NetworkCollector:
    return network.NetworkCollector(settings or CollectorSettings(), host.machine(linux=linux))


def write_dev(host: FakeHost, interfaces: dict[str, str]) -> None:
    lines = [f"{name:>6}: {columns}" for name, columns in interfaces.items()]
    host.write_proc("net/dev", HEAD + "\n".join(lines) + "\n")


def test_the_first_reading_gives_no_rows(host: FakeHost) -> None:
    write_dev(host, {"eth0": LATER})

    assert not collector(host).collect()


def test_rates_are_those_between_two_readings(host: FakeHost) -> None:
    host.write_sys("class/net/eth0/ifindex", "2\n")
    host.write_sys("class/net/eth0/speed", "100\n")
    write_dev(host, {"eth0": ZERO})
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_dev(host, {"eth0": LATER})
    (sample,) = reader.collect()

    assert sample.interface == "eth0"
    assert sample.rx_bytes_per_s == pytest.approx(1_250_000)
    assert sample.tx_bytes_per_s == pytest.approx(250_000)
    assert sample.rx_packets_per_s == pytest.approx(90)
    assert sample.tx_packets_per_s == pytest.approx(5)
    assert sample.rx_errors_per_s == pytest.approx(2)
    assert sample.tx_errors_per_s == pytest.approx(1)
    assert sample.rx_drops_per_s == pytest.approx(5)
    assert sample.tx_drops_per_s == 0
    assert sample.packet_loss_percent == pytest.approx(5)
    assert sample.speed_mbps == 100
    assert sample.utilization_percent == pytest.approx(10)


def test_a_quiet_interface_has_no_loss(host: FakeHost) -> None:
    write_dev(host, {"eth0": ZERO})
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_dev(host, {"eth0": "0 90 0 10 0 0 0 0 0 0 0 0 0 0 0 0"})
    (sample,) = reader.collect()

    assert sample.rx_drops_per_s == pytest.approx(1)
    assert not sample.HasField("packet_loss_percent")


@pytest.mark.parametrize("speed", [None, "", "-1\n", "0\n", "4294967295\n", "fast\n"])
def test_an_interface_without_speed_has_no_utilization(host: FakeHost, speed: str | None) -> None:
    if speed is not None:
        host.write_sys("class/net/eth0/speed", speed)
    write_dev(host, {"eth0": ZERO})
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_dev(host, {"eth0": LATER})
    (sample,) = reader.collect()

    assert not sample.HasField("speed_mbps")
    assert not sample.HasField("utilization_percent")


def test_a_speed_that_is_set_wins_over_the_drivers(host: FakeHost) -> None:
    host.write_sys("class/net/eth0/speed", "10000\n")
    write_dev(host, {"eth0": ZERO})
    reader = collector(host, CollectorSettings(interface_speeds_mbps={"eth0": 20.0}))
    reader.collect()

    host.advance(10.0)
    write_dev(host, {"eth0": LATER})
    (sample,) = reader.collect()

    assert sample.speed_mbps == 20
    assert sample.utilization_percent == pytest.approx(50)


def test_an_interface_that_was_reset_is_left_out_alone(host: FakeHost) -> None:
    write_dev(host, {"eth0": LATER, "eth1": LATER})
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_dev(host, {"eth0": ZERO, "eth1": LATER})

    assert [sample.interface for sample in reader.collect()] == ["eth1"]


def test_an_interface_that_took_anothers_name_is_no_spike(host: FakeHost) -> None:
    host.write_sys("class/net/eth0/ifindex", "2\n")
    write_dev(host, {"eth0": ZERO})
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    host.write_sys("class/net/eth0/ifindex", "7\n")
    write_dev(host, {"eth0": LATER})

    assert not reader.collect()


def test_loopback_and_container_interfaces_are_left_out(host: FakeHost) -> None:
    names = ["lo", "eth0", "wlan0", "veth12ab", "br-0123", "docker0", "cni0", "virbr0", "bond0"]
    write_dev(host, dict.fromkeys(names, ZERO))
    reader = collector(host)
    reader.collect()

    host.advance(1.0)

    assert [sample.interface for sample in reader.collect()] == ["eth0", "wlan0", "bond0"]


def test_a_filter_of_the_operator_replaces_the_default(host: FakeHost) -> None:
    write_dev(host, dict.fromkeys(["lo", "eth0", "docker0"], ZERO))
    chosen = NameFilter(include=("docker*", "eth*"), exclude=("eth0",))
    reader = collector(host, CollectorSettings(interfaces=chosen))
    reader.collect()

    host.advance(1.0)

    assert [sample.interface for sample in reader.collect()] == ["docker0"]


@pytest.mark.parametrize(
    "raw",
    [b"", HEAD.encode(), b"eth0: 1 2 3", b"eth0: " + b"x " * 16, b"eth0 " + b"1 " * 16, b":::"],
)
def test_lines_that_are_no_interface_are_left_out(raw: bytes) -> None:
    assert network.parse(raw) == {}


def test_a_name_with_a_colon_is_read_whole() -> None:
    assert list(network.parse(b"eth0:1:" + ZERO.encode())) == ["eth0:1"]


def test_elsewhere_what_psutil_does_not_know_is_absent(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = SimpleNamespace(bytes_recv=0, bytes_sent=0, packets_recv=0, packets_sent=0)

    def net_io_counters(*, pernic: bool, nowrap: bool) -> dict[str, object]:
        assert pernic
        assert not nowrap
        return {"en0": counts, "lo0": counts}

    monkeypatch.setattr(psutil, "net_io_counters", net_io_counters)
    monkeypatch.delattr(psutil, "net_if_stats")
    reader = collector(host, linux=False)
    reader.collect()

    host.advance(10.0)
    counts = SimpleNamespace(bytes_recv=100, bytes_sent=0, packets_recv=900, packets_sent=0)
    (sample,) = reader.collect()

    assert sample.interface == "en0"
    assert sample.rx_bytes_per_s == pytest.approx(10)
    for name in ("rx_drops_per_s", "packet_loss_percent", "speed_mbps", "utilization_percent"):
        assert not sample.HasField(name)


def test_elsewhere_a_speed_of_0_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = {"en0": SimpleNamespace(speed=1000), "utun0": SimpleNamespace(speed=0)}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: stats)

    assert network.read_speeds_elsewhere() == {"en0": 1000.0, "utun0": None}


def test_elsewhere_a_psutil_without_counters_gives_no_rows(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil, "net_io_counters")

    assert not collector(host, linux=False).collect()


steps = st.tuples(*[st.one_of(st.none(), st.integers(0, 2**64))] * 8)


@given(
    steps=steps,
    seconds=st.floats(allow_nan=False, min_value=0),
    speed=st.one_of(st.none(), st.floats(min_value=0.001, max_value=1e6)),
)
def test_no_value_is_negative_or_infinite_whatever_the_counters_do(
    steps: tuple[float | None, ...], seconds: float, speed: float | None
) -> None:
    sample = network.evaluate("eth0", steps, seconds, speed_mbps=speed)

    for field, value in sample.ListFields():
        assert field.name == "interface" or (math.isfinite(value) and value >= 0)
