"""What the agent reads from its host: one collector for each family of samples.

To add one: write its file, put it into REGISTRY, test it. Timing, deadlines, logging and failures
are the runner's; a collector reads, compares with its last reading, and returns samples.
"""

from __future__ import annotations

import sys as system
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agent.collectors.cpu import CpuCollector
from agent.collectors.disk_io import DiskIoCollector
from agent.collectors.disk_usage import DiskUsageCollector
from agent.collectors.machine import Machine
from agent.collectors.memory import MemoryCollector
from agent.collectors.network import NetworkCollector
from agent.collectors.pressure import PressureCollector
from agent.collectors.process import ProcessCollector
from agent.collectors.settings import CollectorSettings, NameFilter
from agent.collectors.tcp import TcpCollector
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "REGISTRY",
    "Collector",
    "CollectorSettings",
    "Machine",
    "NameFilter",
    "Sample",
    "adjust",
    "build",
]

Sample: TypeAlias = (
    telemetry_pb2.CpuSample
    | telemetry_pb2.MemorySample
    | telemetry_pb2.DiskUsageSample
    | telemetry_pb2.DiskIoSample
    | telemetry_pb2.NetworkSample
    | telemetry_pb2.TcpSample
    | telemetry_pb2.ProcessSample
    | telemetry_pb2.PressureSample
)


class Collector(Protocol):
    """Reads one family. It is called by one thread at a time and keeps its last reading.

    A collector may have a property `stuck: int`, the number of things it asked that don't answer,
    and an attribute `settings`, which may be exchanged at any time for the next reading.
    """

    @property
    def family(self) -> telemetry_pb2.Family:
        """The family that all its samples belong to."""
        ...

    def collect(self) -> Sequence[Sample]:
        """Read and return samples; nothing to report is no failure. Blocks, may raise anything."""
        ...


REGISTRY: tuple[Callable[[CollectorSettings, Machine], Collector], ...] = (
    CpuCollector,
    MemoryCollector,
    DiskUsageCollector,
    DiskIoCollector,
    NetworkCollector,
    TcpCollector,
    ProcessCollector,
    PressureCollector,
)


def build(
    settings: CollectorSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
    linux: bool = system.platform.startswith("linux"),
) -> tuple[Collector, ...]:
    """Make every collector of the registry, none of which has read anything yet."""
    machine = Machine(clock=clock, proc=proc, sys=sys, linux=linux)
    return tuple(make(settings, machine) for make in REGISTRY)


def adjust(collectors: Iterable[Collector], settings: CollectorSettings) -> None:
    """Have collectors go on by other settings."""
    for each in collectors:
        if hasattr(each, "settings"):
            each.settings = settings  # pyright: ignore[reportAttributeAccessIssue] - optional
