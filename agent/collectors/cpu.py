"""CPU: shares of time since the last reading, load, context switches and interrupts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from agent import rates
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.settings import CollectorSettings

# The first eight columns of /proc/stat (proc(5)). The two guest columns after them are left away:
# guest time is in user and nice already.
STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
IDLE = STATES.index("idle")
IOWAIT = STATES.index("iowait")

# The kernel accounts idle and iowait per core without a lock, and may take a little back (proc(5)
# says so of iowait). That is no reset; a core that was unplugged and came back is.
LARGEST_STEP_BACK_S = 3.0

Times: TypeAlias = tuple[float | None, ...]
"""Seconds in each of STATES since boot; None where the system does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuReading:
    """Everything one look at the CPUs gives; the cores by their number."""

    total: Times | None = None
    cores: Mapping[int, Times]
    context_switches: float | None = None
    interrupts: float | None = None
    load: tuple[float, float, float] | None = None


class CpuCollector:
    """Reads /proc/stat and /proc/loadavg, elsewhere psutil."""

    family = telemetry_pb2.FAMILY_CPU

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        del settings  # the CPUs have none
        self._machine = machine
        self._before: CpuReading | None = None
        self._before_at_s = 0.0

    def collect(self) -> Sequence[telemetry_pb2.CpuSample]:
        """Sample what happened since the last call; the first one knows the load only."""
        after = read_linux(self._machine) if self._machine.linux else read_elsewhere()
        after_at_s = self._machine.clock()
        sample = evaluate(self._before, after, after_at_s - self._before_at_s)
        self._before, self._before_at_s = after, after_at_s
        return [sample] if sample.ByteSize() else []


def read_linux(machine: Machine) -> CpuReading:
    """Read the kernel's own counters."""
    load = parse_loadavg(machine.read_proc("loadavg") or b"")
    return parse_stat(machine.read_proc("stat") or b"", os.sysconf("SC_CLK_TCK"), load=load)


def parse_stat(
    raw: bytes, ticks_per_s: int, *, load: tuple[float, float, float] | None = None
) -> CpuReading:
    """Parse /proc/stat; a line that is missing or not numeric is absent in the reading."""
    total: Times | None = None
    cores: dict[int, Times] = {}
    counts: dict[bytes, float] = {}
    for line in raw.splitlines():
        if line.startswith(b"cpu"):
            name, *columns = line.split()
            times = _times(columns, ticks_per_s)
            if times is None:
                continue
            if name == b"cpu":
                total = times
            elif name[3:].isdigit():
                cores[int(name[3:])] = times
        elif line.startswith((b"intr ", b"ctxt ")):
            # The line of interrupts has one column for each of thousands: only the first is wanted.
            name, count, *_ = line.split(None, 2)
            if count.isdigit():
                counts[name] = float(count)
    return CpuReading(
        total=total,
        cores=cores,
        context_switches=counts.get(b"ctxt"),
        interrupts=counts.get(b"intr"),
        load=load,
    )


def parse_loadavg(raw: bytes) -> tuple[float, float, float] | None:
    """Parse the three averages of /proc/loadavg."""
    try:
        one, five, fifteen = (float(column) for column in raw.split()[:3])
    except ValueError:
        return None
    return one, five, fifteen


def read_elsewhere() -> CpuReading:
    """Ask psutil for what this system tells."""
    import psutil  # 1 MB that an agent on Linux does not pay

    stats = psutil.cpu_stats() if hasattr(psutil, "cpu_stats") else None
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return CpuReading(
        total=_known_times(psutil.cpu_times()),
        cores={
            number: _known_times(times)
            for number, times in enumerate(psutil.cpu_times(percpu=True))
        },
        context_switches=getattr(stats, "ctx_switches", None),
        interrupts=getattr(stats, "interrupts", None),
        load=load,
    )


def evaluate(
    before: CpuReading | None, after: CpuReading, seconds: float
) -> telemetry_pb2.CpuSample:
    """Compare two readings; without an earlier one only the load is known."""
    sample = telemetry_pb2.CpuSample()
    if after.load is not None:
        sample.load1, sample.load5, sample.load15 = after.load
        if after.cores:
            sample.load1_per_core = after.load[0] / len(after.cores)
    if before is None:
        return sample
    sample.MergeFrom(shares(time_spent(before.total, after.total)))
    sample.MergeFrom(
        telemetry_pb2.CpuSample(
            context_switches_per_s=rates.per_second(
                rates.step(before.context_switches, after.context_switches), seconds
            ),
            interrupts_per_s=rates.per_second(
                rates.step(before.interrupts, after.interrupts), seconds
            ),
        )
    )
    sample.core_usage_percent.extend(core_usage_percents(before.cores, after.cores))
    return sample


def shares(spent: Times | None) -> telemetry_pb2.CpuSample:
    """Say how the time of all cores was spent, in percent of the whole."""
    if spent is None:
        return telemetry_pb2.CpuSample()
    whole = _sum(spent)
    user, nice, system, idle, iowait, irq, softirq, steal = (
        rates.time_percent(part, whole) for part in spent
    )
    return telemetry_pb2.CpuSample(
        usage_percent=usage_percent(spent),
        user_percent=user,
        nice_percent=nice,
        system_percent=system,
        idle_percent=idle,
        iowait_percent=iowait,
        irq_percent=irq,
        softirq_percent=softirq,
        steal_percent=steal,
    )


def core_usage_percents(before: Mapping[int, Times], after: Mapping[int, Times]) -> list[float]:
    """Usage at the place of each core's number, NaN for one that is off or came back just now."""
    usage = {
        number: usage_percent(time_spent(before.get(number), times))
        for number, times in after.items()
    }
    if all(value is None for value in usage.values()):
        return []
    return [_or_nan(usage.get(number)) for number in range(max(usage) + 1)]


def time_spent(before: Times | None, after: Times | None) -> Times | None:
    """Seconds spent in each state between two readings; None where that can't be told."""
    if before is None or after is None:
        return None
    spent: list[float | None] = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        went = rates.step(old, new)
        if went is None and old is not None and new is not None:
            if index not in (IDLE, IOWAIT) or not old - new < LARGEST_STEP_BACK_S:
                return None
            went = 0.0
        spent.append(went)
    return tuple(spent)


def usage_percent(spent: Times | None) -> float | None:
    """Everything but idle and waiting for disks: 100 - idle - iowait."""
    if spent is None or spent[IDLE] is None:
        return None
    busy = _sum(part for index, part in enumerate(spent) if index not in (IDLE, IOWAIT))
    return rates.time_percent(busy, _sum(spent))


def _times(columns: Sequence[bytes], ticks_per_s: int) -> Times | None:
    if not columns or not all(column.isdigit() for column in columns):
        return None
    known = [int(column) / ticks_per_s for column in columns[: len(STATES)]]
    return (*known, *[None] * (len(STATES) - len(known)))


def _known_times(told: object) -> Times:
    return tuple(getattr(told, state, None) for state in STATES)


def _sum(parts: Iterable[float | None]) -> float:
    return sum(part for part in parts if part is not None)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
