"""Memory: what is used and what is left, of main memory and swap, and page faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import rates
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.settings import CollectorSettings

KIB = 1024  # /proc/meminfo says "kB" and means this


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryReading:
    """Sizes in bytes and faults since boot; None where the system does not tell."""

    total: int | None = None
    available: int | None = None
    free: int | None = None
    buffers: int | None = None
    cached: int | None = None
    swap_total: int | None = None
    swap_used: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None


class MemoryCollector:
    """Reads /proc/meminfo and /proc/vmstat, elsewhere psutil."""

    family = telemetry_pb2.FAMILY_MEMORY

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        del settings  # memory has none
        self._machine = machine
        self._before: MemoryReading | None = None
        self._before_at_s = 0.0

    def collect(self) -> Sequence[telemetry_pb2.MemorySample]:
        """Sample memory as it is, and the faults since the last call."""
        after = read_linux(self._machine) if self._machine.linux else read_elsewhere()
        after_at_s = self._machine.clock()
        sample = evaluate(self._before, after, after_at_s - self._before_at_s)
        self._before, self._before_at_s = after, after_at_s
        return [sample] if sample.ByteSize() else []


def read_linux(machine: Machine) -> MemoryReading:
    """Read the kernel's own numbers."""
    return parse(machine.read_proc("meminfo") or b"", machine.read_proc("vmstat") or b"")


def parse(meminfo: bytes, vmstat: bytes) -> MemoryReading:
    """Parse /proc/meminfo and the two lines of /proc/vmstat that count faults."""
    sizes = parse_meminfo(meminfo)
    cached = sizes.get(b"Cached")
    swap_total, swap_free = sizes.get(b"SwapTotal"), sizes.get(b"SwapFree")
    return MemoryReading(
        total=sizes.get(b"MemTotal"),
        available=sizes.get(b"MemAvailable"),
        free=sizes.get(b"MemFree"),
        buffers=sizes.get(b"Buffers"),
        # As free(1) and vmstat(8) count it: reclaimable slab is cache too.
        cached=None if cached is None else cached + sizes.get(b"SReclaimable", 0),
        swap_total=swap_total,
        swap_used=_difference(swap_total, swap_free),
        page_faults=_counter(vmstat, b"pgfault"),
        major_page_faults=_counter(vmstat, b"pgmajfault"),
    )


def parse_meminfo(raw: bytes) -> dict[bytes, int]:
    """Parse /proc/meminfo into bytes by name; lines without a number are left out."""
    sizes: dict[bytes, int] = {}
    for line in raw.splitlines():
        name, _, rest = line.partition(b":")
        columns = rest.split()
        if columns and columns[0].isdigit():
            sizes[name] = int(columns[0]) * KIB
    return sizes


def read_elsewhere() -> MemoryReading:
    """Ask psutil for what this system tells; none but Linux counts faults for us."""
    import psutil  # 1 MB that an agent on Linux does not pay

    memory = psutil.virtual_memory()
    swap = psutil.swap_memory() if hasattr(psutil, "swap_memory") else None
    return MemoryReading(
        total=getattr(memory, "total", None),
        available=getattr(memory, "available", None),
        free=getattr(memory, "free", None),
        buffers=getattr(memory, "buffers", None),
        cached=getattr(memory, "cached", None),
        swap_total=getattr(swap, "total", None),
        swap_used=getattr(swap, "used", None),
    )


def evaluate(
    before: MemoryReading | None, after: MemoryReading, seconds: float
) -> telemetry_pb2.MemorySample:
    """Derive what follows from a reading; fault rates need an earlier one."""
    used = _difference(after.total, after.available)
    old = before or MemoryReading()
    return telemetry_pb2.MemorySample(
        total_bytes=after.total,
        used_bytes=used,
        used_percent=rates.percent(used, after.total),
        available_bytes=after.available,
        available_percent=rates.percent(after.available, after.total),
        free_bytes=after.free,
        buffers_bytes=after.buffers,
        cached_bytes=after.cached,
        swap_total_bytes=after.swap_total,
        swap_used_bytes=after.swap_used,
        swap_used_percent=rates.percent(after.swap_used, after.swap_total),  # absent without swap
        page_faults_per_s=rates.per_second(rates.step(old.page_faults, after.page_faults), seconds),
        major_page_faults_per_s=rates.per_second(
            rates.step(old.major_page_faults, after.major_page_faults), seconds
        ),
    )


def _difference(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None or part > whole else whole - part


def _counter(vmstat: bytes, name: bytes) -> int | None:
    start = (b"\n" + vmstat).find(b"\n" + name + b" ")
    if start < 0:
        return None
    value = vmstat[start:].split(None, 2)[1:2]
    return int(value[0]) if value and value[0].isdigit() else None
