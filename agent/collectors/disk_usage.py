"""Disk usage: the room and the inodes on each mounted filesystem.

statvfs(3) on a dead network mount never returns and can't be interrupted, so each filesystem is
asked in a thread that may be abandoned. One that does not answer in time is not asked again
until that thread has come back, and is counted in `stuck`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from agent import rates
from agent.collectors import mounts
from agent.collectors.machine import Machine, text
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from agent.collectors.mounts import Mount
    from agent.collectors.settings import CollectorSettings

LARGEST = 2**64 - 1  # that the wire carries
PROBES_AT_ONCE = 32
THREAD_NAME = "disk-usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is on a filesystem, in bytes and inodes; None where it does not tell.

    `free` is what an ordinary user may still write.
    """

    total: int
    used: int
    free: int
    inodes_total: int | None = None
    inodes_used: int | None = None


RoomOf: TypeAlias = Callable[[str], "Room | None"]
"""Looks at a mount point; None where it is no directory or has no room to speak of. May hang."""


class DiskUsageCollector:
    """Asks every filesystem for its room, each within a time limit."""

    family = telemetry_pb2.FAMILY_DISK_USAGE

    def __init__(
        self, settings: CollectorSettings, machine: Machine, room_of: RoomOf | None = None
    ) -> None:
        self.settings = settings
        self._machine = machine
        self._room_of = room_of or (look if hasattr(os, "statvfs") else look_elsewhere)
        self._probes: dict[str, _Probe] = {}

    @property
    def stuck(self) -> int:
        """How many filesystems have been asked and do not answer."""
        return sum(probe.is_stuck for probe in tuple(self._probes.values()))

    def collect(self) -> Sequence[telemetry_pb2.DiskUsageSample]:
        """Sample the filesystems that answer; takes at most the time limit for every 32 of them."""
        groups = mounts.by_filesystem(
            mounts.read(self._machine),
            points=self.settings.mounts,
            filesystems=self.settings.filesystems,
        )
        self._probes = {key: probe for key, probe in self._probes.items() if probe.is_running}
        free = [key for key in groups if key not in self._probes]
        samples: list[telemetry_pb2.DiskUsageSample] = []
        for start in range(0, len(free), PROBES_AT_ONCE):
            wave = free[start : start + PROBES_AT_ONCE]
            for key in wave:
                self._probes[key] = _Probe(groups[key], self._room_of)
            deadline_s = self._machine.clock() + self.settings.mount_timeout_s
            for key in wave:
                answer = self._probes[key].answer(deadline_s - self._machine.clock())
                if answer is not None:
                    samples.append(evaluate(*answer))
        return samples


class _Probe:
    """One question to one filesystem, in a thread of its own that nobody has to wait for."""

    def __init__(self, group: Sequence[Mount], room_of: RoomOf) -> None:
        self._group = group
        self._room_of = room_of
        self._answer: tuple[Mount, Room] | None = None
        self._is_overdue = False
        self._thread = threading.Thread(target=self._ask, name=THREAD_NAME, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_stuck(self) -> bool:
        return self._is_overdue and self.is_running

    def answer(self, timeout_s: float) -> tuple[Mount, Room] | None:
        self._thread.join(max(timeout_s, 0.0))
        self._is_overdue = self.is_running
        return None if self._is_overdue else self._answer

    def _ask(self) -> None:
        for mount in self._group:
            try:
                room = self._room_of(mount.point)
            except OSError:  # a stale handle, a place that is shadowed or forbidden
                continue
            if room is not None:
                self._answer = (mount, room)
                return


def look(point: str) -> Room | None:
    """Ask the kernel; container engines bind single files, which no user calls a mount."""
    if not Path(point).is_dir():
        return None
    told = os.statvfs(point)
    return room(
        block_bytes=told.f_frsize,
        blocks=told.f_blocks,
        blocks_free=told.f_bfree,
        blocks_available=told.f_bavail,
        inodes=told.f_files,
        inodes_free=told.f_ffree,
    )


def look_elsewhere(point: str) -> Room | None:
    """Ask psutil, on systems without statvfs."""
    import psutil  # 1 MB that an agent on Linux does not pay

    told = psutil.disk_usage(point)
    return Room(total=told.total, used=told.used, free=told.free) if told.total > 0 else None


def room(
    *,
    block_bytes: int,
    blocks: int,
    blocks_free: int,
    blocks_available: int,
    inodes: int,
    inodes_free: int,
) -> Room | None:
    """Make sense of what statvfs(3) told; None where it makes none."""
    if blocks <= 0 or not 0 <= blocks_free <= blocks or blocks * block_bytes > LARGEST:
        return None
    # Where ordinary users are below their reserve, this is a negative number read as unsigned.
    available = blocks_available if 0 <= blocks_available <= blocks else 0
    counts_inodes = 0 <= inodes_free <= inodes <= LARGEST and inodes > 0
    return Room(
        total=blocks * block_bytes,
        used=(blocks - blocks_free) * block_bytes,
        free=available * block_bytes,
        inodes_total=inodes if counts_inodes else None,
        inodes_used=inodes - inodes_free if counts_inodes else None,
    )


def evaluate(mount: Mount, of: Room) -> telemetry_pb2.DiskUsageSample:
    """Put a filesystem's room into a sample; the percentages are those of df(1)."""
    return telemetry_pb2.DiskUsageSample(
        mount=text(os.fsencode(mount.point)),
        device=text(os.fsencode(mount.device)) or None,
        fstype=text(os.fsencode(mount.fstype)) or None,
        total_bytes=of.total,
        used_bytes=of.used,
        free_bytes=of.free,
        used_percent=rates.percent(of.used, of.used + of.free),
        inodes_total=of.inodes_total,
        inodes_used=of.inodes_used,
        inodes_used_percent=rates.percent(of.inodes_used, of.inodes_total),
    )
