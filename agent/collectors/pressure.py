"""Pressure stall information: the share of the last 10 s in which tasks waited for a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.settings import CollectorSettings


class PressureCollector:
    """Reads /proc/pressure (Documentation/accounting/psi.rst); other systems have no such thing."""

    family = telemetry_pb2.FAMILY_PRESSURE

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        del settings  # pressure has none
        self._machine = machine

    def collect(self) -> Sequence[telemetry_pb2.PressureSample]:
        """Sample the kernel's own averages; nothing where it keeps none."""
        if not self._machine.linux:
            return []
        cpu, memory, io = (
            parse(self._machine.read_proc(f"pressure/{resource}") or b"")
            for resource in ("cpu", "memory", "io")
        )
        sample = telemetry_pb2.PressureSample(
            # "full" of the CPU is for cgroups; of the whole system it means nothing.
            cpu_some_avg10=cpu.get("some"),
            memory_some_avg10=memory.get("some"),
            memory_full_avg10=memory.get("full"),
            io_some_avg10=io.get("some"),
            io_full_avg10=io.get("full"),
        )
        return [sample] if sample.ByteSize() else []


def parse(raw: bytes) -> dict[str, float]:
    """Parse one file of /proc/pressure into avg10 in percent, by the first word of the line."""
    averages: dict[str, float] = {}
    for line in raw.decode("ascii", "replace").splitlines():
        kind, _, rest = line.partition(" ")
        facts = dict(pair.split("=", 1) for pair in rest.split() if "=" in pair)
        try:
            value = float(facts["avg10"])
        except (KeyError, ValueError):
            continue
        if 0 <= value <= 100:
            averages[kind] = value
    return averages
