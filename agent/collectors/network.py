"""Network: traffic, drops, errors, loss and utilization of each interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import rates
from agent.collectors.machine import Machine, text
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.collectors.settings import CollectorSettings

BITS = 8
MEGA = 1e6
UNKNOWN_SPEED = 0xFFFFFFFF  # -1 as some drivers print it

# Below this rate one dropped broadcast would look like an outage.
LOSS_NEEDS_PACKETS_PER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceCounters:
    """What an interface did since it was made; None where the system does not tell."""

    rx_bytes: float | None = None
    tx_bytes: float | None = None
    rx_packets: float | None = None
    tx_packets: float | None = None
    rx_drops: float | None = None
    tx_drops: float | None = None
    rx_errors: float | None = None
    tx_errors: float | None = None

    def columns(self) -> rates.Counters:
        """The counters in the order of the fields."""
        return (
            self.rx_bytes,
            self.tx_bytes,
            self.rx_packets,
            self.tx_packets,
            self.rx_drops,
            self.tx_drops,
            self.rx_errors,
            self.tx_errors,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface; the index tells one that was made anew, or renamed, from the old one."""

    name: str
    index: int | None = None


class NetworkCollector:
    """Reads /proc/net/dev and /sys/class/net, elsewhere psutil."""

    family = telemetry_pb2.FAMILY_NETWORK

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        self._machine = machine
        self.settings = settings
        self._before: Mapping[Interface, rates.Counters] = {}
        self._before_at_s = 0.0

    def collect(self) -> Sequence[telemetry_pb2.NetworkSample]:
        """Sample each interface that was there at the last call too."""
        read = self._read()
        after_at_s = self._machine.clock()
        after = {
            self._interface(name): counters.columns()
            for name, counters in read.items()
            if self.settings.interfaces.admits(name)
        }
        seconds = after_at_s - self._before_at_s
        went = rates.common_steps(self._before, after)
        self._before, self._before_at_s = after, after_at_s
        speeds = self._speeds_mbps([interface.name for interface in went])
        return [
            evaluate(interface.name, steps, seconds, speed_mbps=speeds.get(interface.name))
            for interface, steps in went.items()
        ]

    def _read(self) -> dict[str, InterfaceCounters]:
        if self._machine.linux:
            return parse(self._machine.read_proc("net/dev") or b"")
        return read_elsewhere()

    def _interface(self, name: str) -> Interface:
        if not self._machine.linux:
            return Interface(name=name)
        raw = (self._machine.read_sys(f"class/net/{name}/ifindex") or b"").strip()
        return Interface(name=name, index=int(raw) if raw.isdigit() else None)

    def _speeds_mbps(self, names: Sequence[str]) -> Mapping[str, float]:
        if self._machine.linux:
            known = {
                name: parse_speed(self._machine.read_sys(f"class/net/{name}/speed") or b"")
                for name in names
                if name not in self.settings.interface_speeds_mbps
            }
        else:
            known = read_speeds_elsewhere()
        speeds = {name: speed for name, speed in known.items() if speed is not None}
        return {**speeds, **self.settings.interface_speeds_mbps}


def parse(raw: bytes) -> dict[str, InterfaceCounters]:
    """Parse /proc/net/dev; a line with too few columns is left out."""
    interfaces: dict[str, InterfaceCounters] = {}
    for line in raw.splitlines():
        name, colon, rest = line.rpartition(b":")  # a name may hold a colon, a number never
        columns = rest.split()
        if not colon or len(columns) < 12 or not all(column.isdigit() for column in columns):
            continue
        counts = [int(column) for column in columns]
        interfaces[text(name.strip())] = InterfaceCounters(
            rx_bytes=counts[0],
            rx_packets=counts[1],
            rx_errors=counts[2],
            rx_drops=counts[3],
            tx_bytes=counts[8],
            tx_packets=counts[9],
            tx_errors=counts[10],
            tx_drops=counts[11],
        )
    return interfaces


def parse_speed(raw: bytes) -> float | None:
    """Parse /sys/class/net/…/speed; virtual interfaces say -1 or 0 and have none."""
    try:
        speed = int(raw)
    except ValueError:
        return None
    return float(speed) if 0 < speed < UNKNOWN_SPEED else None


def read_elsewhere() -> dict[str, InterfaceCounters]:
    """Ask psutil for what this system tells."""
    import psutil  # 1 MB that an agent on Linux does not pay

    if not hasattr(psutil, "net_io_counters"):
        return {}
    # nowrap would add up what was before a reset, and make an interface's past a spike.
    return {
        name: InterfaceCounters(
            rx_bytes=getattr(counts, "bytes_recv", None),
            tx_bytes=getattr(counts, "bytes_sent", None),
            rx_packets=getattr(counts, "packets_recv", None),
            tx_packets=getattr(counts, "packets_sent", None),
            rx_drops=getattr(counts, "dropin", None),
            tx_drops=getattr(counts, "dropout", None),
            rx_errors=getattr(counts, "errin", None),
            tx_errors=getattr(counts, "errout", None),
        )
        for name, counts in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


def read_speeds_elsewhere() -> dict[str, float | None]:
    """Ask psutil for the speeds in Mbit/s; 0 is its word for unknown."""
    import psutil

    if not hasattr(psutil, "net_if_stats"):
        return {}
    return {name: float(stats.speed) or None for name, stats in psutil.net_if_stats().items()}


def evaluate(
    interface: str, steps: rates.Steps, seconds: float, *, speed_mbps: float | None
) -> telemetry_pb2.NetworkSample:
    """Turn what an interface did in some seconds into a sample."""
    rx_bytes, tx_bytes, rx_packets, tx_packets, rx_drops, tx_drops, rx_errors, tx_errors = (
        rates.per_second(step, seconds) for step in steps
    )
    busier = None if rx_bytes is None or tx_bytes is None else max(rx_bytes, tx_bytes)
    return telemetry_pb2.NetworkSample(
        interface=interface,
        rx_bytes_per_s=rx_bytes,
        tx_bytes_per_s=tx_bytes,
        rx_packets_per_s=rx_packets,
        tx_packets_per_s=tx_packets,
        rx_drops_per_s=rx_drops,
        tx_drops_per_s=tx_drops,
        rx_errors_per_s=rx_errors,
        tx_errors_per_s=tx_errors,
        packet_loss_percent=loss_percent(
            packets_per_s=_sum(rx_packets, tx_packets), drops_per_s=_sum(rx_drops, tx_drops)
        ),
        speed_mbps=speed_mbps,
        utilization_percent=rates.percent(
            None if busier is None else busier * BITS / MEGA, speed_mbps
        ),
    )


def loss_percent(*, packets_per_s: float | None, drops_per_s: float | None) -> float | None:
    """Drops of all that came or went; None on an interface too quiet to judge."""
    if packets_per_s is None or drops_per_s is None or packets_per_s < LOSS_NEEDS_PACKETS_PER_S:
        return None
    return rates.percent(drops_per_s, packets_per_s + drops_per_s)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
