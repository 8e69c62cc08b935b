"""Processes: those that use most CPU since the last reading, and those that use most memory."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from agent import rates
from agent.collectors.process_table import (
    LinuxProcessTable,
    PortableProcessTable,
    ProcessReading,
    ProcessTable,
    TableReading,
)
from agent.redaction import RedactionMode, Redactor
from hostpulse.patterns import compile_all
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.process_table import Show
    from agent.collectors.settings import CollectorSettings


class ProcessCollector:
    """Ranks all processes and describes the top ones."""

    family = telemetry_pb2.FAMILY_PROCESS

    def __init__(
        self, settings: CollectorSettings, machine: Machine, table: ProcessTable | None = None
    ) -> None:
        self.settings = settings
        self._clock = machine.clock
        own = LinuxProcessTable(machine) if machine.linux else PortableProcessTable()
        self._table = table or own
        self._before: TableReading | None = None
        self._before_at_s = 0.0

    def collect(self) -> Sequence[telemetry_pb2.ProcessSample]:
        """Sample the top ones; the first call knows memory only."""
        after = self._table.read()
        after_at_s = self._clock()
        used = cpu_percents(self._before, after, after_at_s - self._before_at_s)
        self._before, self._before_at_s = after, after_at_s
        by_cpu = ranks(used, self.settings.process_top_n)
        by_memory = ranks(
            {one.pid: float(one.rss_bytes) for one in after.processes if one.rss_bytes is not None},
            self.settings.process_top_n,
        )
        return [
            self._sample(
                one,
                cpu_percent=rates.to_step(used.get(one.pid)),
                memory_percent=rates.percent(one.rss_bytes, after.memory_total_bytes),
                cpu_rank=by_cpu.get(one.pid),
                memory_rank=by_memory.get(one.pid),
            )
            for one in after.processes
            if one.pid in by_cpu or one.pid in by_memory
        ]

    def _sample(
        self,
        process: ProcessReading,
        *,
        cpu_percent: float | None,
        memory_percent: float | None,
        cpu_rank: int | None,
        memory_rank: int | None,
    ) -> telemetry_pb2.ProcessSample:
        description = self._table.describe(
            process,
            show=_shown_by(self.settings.redaction, self.settings.redaction_patterns),
        )
        return telemetry_pb2.ProcessSample(
            pid=process.pid,
            name=description.name or None,
            username=description.username,
            cmdline=description.cmdline,
            cpu_percent=cpu_percent,
            memory_rss_bytes=process.rss_bytes,
            memory_percent=memory_percent,
            cpu_rank=cpu_rank,
            memory_rank=memory_rank,
        )


@functools.lru_cache(maxsize=4)
def _shown_by(mode: RedactionMode, patterns: tuple[str, ...]) -> Show | None:
    """Return how command lines are written; None where they are not sent."""
    match mode:
        case RedactionMode.FULL:
            return " ".join
        case RedactionMode.REDACTED:
            return Redactor(compile_all("redaction_patterns", patterns)).command_line
        case RedactionMode.NAMES:
            return None


def cpu_percents(
    before: TableReading | None, after: TableReading, seconds: float
) -> dict[int, float]:
    """CPU of each process between two readings, 100 being one core; by pid.

    A process that started in between has used all its time in between. One that was there before
    and was not seen (another's, where /proc hides them) has no value: its past would be a spike.
    """
    if before is None:
        return {}
    old = {(one.pid, one.started_s): one.cpu_s for one in before.processes}
    used: dict[int, float] = {}
    for one in after.processes:
        key = (one.pid, one.started_s)
        if key in old:
            spent = rates.step(old[key], one.cpu_s)
        else:
            is_new = before.now_s is not None and one.started_s >= before.now_s
            spent = one.cpu_s if is_new else None
        of_one_core = rates.ratio(spent, seconds)
        if of_one_core is not None:
            used[one.pid] = of_one_core * 100
    return used


def ranks(values: Mapping[int, float], top: int) -> dict[int, int]:
    """Rank the biggest ones from 1; what uses nothing has no rank, equals go by the lower pid."""
    biggest = sorted(
        (pid for pid, value in values.items() if value > 0), key=lambda pid: (-values[pid], pid)
    )
    return {pid: rank for rank, pid in enumerate(biggest[:top], start=1)}
