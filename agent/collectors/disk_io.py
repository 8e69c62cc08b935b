"""Disk traffic: throughput, requests, waiting time, queue and utilization of each block device."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import rates
from agent.collectors.machine import Machine, text
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.collectors.settings import CollectorSettings, NameFilter

SECTOR_BYTES = 512  # of /proc/diskstats, whatever the device's own sectors are

# For a kernel whose /sys can't be read. A name that ends in a digit marks its partitions with a p.
PARTITION_NAME = re.compile(
    r"(?:[hsv]d[a-z]+|xvd[a-z]+)\d+|(?:nvme\d+n\d+|mmcblk\d+|md\d+|nbd\d+)p\d+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCounters:
    """What a device did since it was attached; None where the system does not tell.

    The times are in milliseconds: of all reads, of all writes, with any request in flight, and the
    last one multiplied by how many there were.
    """

    reads: float | None = None
    writes: float | None = None
    read_bytes: float | None = None
    write_bytes: float | None = None
    read_ms: float | None = None
    write_ms: float | None = None
    busy_ms: float | None = None
    weighted_ms: float | None = None

    def columns(self) -> rates.Counters:
        """The counters in the order of the fields."""
        return (
            self.reads,
            self.writes,
            self.read_bytes,
            self.write_bytes,
            self.read_ms,
            self.write_ms,
            self.busy_ms,
            self.weighted_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A block device; the number tells a replaced device from the old one of the same name."""

    name: str
    number: str = ""


class DiskIoCollector:
    """Reads /proc/diskstats (Documentation/admin-guide/iostats.rst), elsewhere psutil."""

    family = telemetry_pb2.FAMILY_DISK_IO

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        self._machine = machine
        self.settings = settings
        self._before: Mapping[Device, rates.Counters] = {}
        self._before_at_s = 0.0

    def collect(self) -> Sequence[telemetry_pb2.DiskIoSample]:
        """Sample each whole disk that was there at the last call too."""
        read = read_linux(self._machine) if self._machine.linux else read_elsewhere()
        after_at_s = self._machine.clock()
        after = {
            device: counters.columns()
            for device, counters in read.items()
            if self._is_wanted(device.name)
        }
        seconds = after_at_s - self._before_at_s
        went = rates.common_steps(self._before, after)
        self._before, self._before_at_s = after, after_at_s
        return [evaluate(device.name, steps, seconds) for device, steps in went.items()]

    def _is_wanted(self, name: str) -> bool:
        if not self.settings.devices.admits(name):
            return False
        return not self._machine.linux or (
            _is_named(self.settings.devices, name) or not is_partition(self._machine, name)
        )


def read_linux(machine: Machine) -> dict[Device, DiskCounters]:
    """Read the kernel's own counters."""
    return parse(machine.read_proc("diskstats") or b"")


def parse(raw: bytes) -> dict[Device, DiskCounters]:
    """Parse /proc/diskstats; a line with too few columns (kernels before 2.6.25) is left out."""
    devices: dict[Device, DiskCounters] = {}
    for line in raw.splitlines():
        columns = line.split()
        if len(columns) < 14 or not all(column.isdigit() for column in columns[3:14]):
            continue
        counts = [int(column) for column in columns[3:14]]
        device = Device(name=text(columns[2]), number=text(b":".join(columns[:2])))
        devices[device] = DiskCounters(
            reads=counts[0],
            read_bytes=counts[2] * SECTOR_BYTES,
            read_ms=counts[3],
            writes=counts[4],
            write_bytes=counts[6] * SECTOR_BYTES,
            write_ms=counts[7],
            busy_ms=counts[9],
            weighted_ms=counts[10],
        )
    return devices


def is_partition(machine: Machine, name: str) -> bool:
    """Ask /sys whether a device is a part of another one; its name decides where /sys is not."""
    block = machine.sys / "class" / "block"
    device = block / name.replace("/", "!")
    if device.exists():
        return (device / "partition").exists()
    return PARTITION_NAME.fullmatch(name) is not None


def read_elsewhere() -> dict[Device, DiskCounters]:
    """Ask psutil for what this system tells."""
    import psutil  # 1 MB that an agent on Linux does not pay

    if not hasattr(psutil, "disk_io_counters"):
        return {}
    # nowrap would add up what was before a reset, and make a device's past a spike.
    disks = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
    return {
        Device(name=name): DiskCounters(
            reads=getattr(counts, "read_count", None),
            writes=getattr(counts, "write_count", None),
            read_bytes=getattr(counts, "read_bytes", None),
            write_bytes=getattr(counts, "write_bytes", None),
            read_ms=getattr(counts, "read_time", None),
            write_ms=getattr(counts, "write_time", None),
            busy_ms=getattr(counts, "busy_time", None),
        )
        for name, counts in disks.items()
    }


def evaluate(device: str, steps: rates.Steps, seconds: float) -> telemetry_pb2.DiskIoSample:
    """Turn what a device did in some seconds into a sample."""
    reads, writes, read_bytes, write_bytes, read_ms, write_ms, busy_ms, weighted_ms = steps
    return telemetry_pb2.DiskIoSample(
        device=device,
        read_bytes_per_s=rates.per_second(read_bytes, seconds),
        write_bytes_per_s=rates.per_second(write_bytes, seconds),
        reads_per_s=rates.per_second(reads, seconds),
        writes_per_s=rates.per_second(writes, seconds),
        await_ms=rates.ratio(_sum(read_ms, write_ms), _sum(reads, writes)),
        read_await_ms=rates.ratio(read_ms, reads),
        write_await_ms=rates.ratio(write_ms, writes),
        queue_length=rates.per_second(_seconds(weighted_ms), seconds),
        utilization_percent=rates.time_percent(_seconds(busy_ms), seconds),
    )


def _is_named(chosen: NameFilter, name: str) -> bool:
    return name in chosen.include


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
