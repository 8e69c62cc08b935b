"""The table of mounts: which filesystems there are, without touching any of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.settings import NameFilter

ROOT = "/"
ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A filesystem at a place; `number` is that of the filesystem, shared by its bind mounts."""

    point: str
    device: str
    fstype: str
    number: str


def read(machine: Machine) -> Sequence[Mount]:
    """List what is mounted; on Linux from the kernel's table, elsewhere from psutil."""
    if machine.linux:
        return parse_mountinfo(machine.read_proc("self/mountinfo") or b"")
    import psutil  # 1 MB that an agent on Linux does not pay

    return [
        Mount(
            point=partition.mountpoint,
            device=partition.device,
            fstype=partition.fstype,
            number=partition.device or partition.mountpoint,
        )
        for partition in psutil.disk_partitions(all=False)
    ]


def parse_mountinfo(raw: bytes) -> Sequence[Mount]:
    """Parse /proc/self/mountinfo (proc_pid_mountinfo(5)); the last at a place hides others."""
    visible: dict[str, Mount] = {}
    for line in raw.splitlines():
        columns, _, tail = line.partition(b" - ")  # between them: any number of optional fields
        front, back = columns.split(), tail.split()
        if len(front) < 5 or len(back) < 2:
            continue
        point = os.fsdecode(_unescape(front[4]))
        visible.pop(point, None)
        visible[point] = Mount(
            point=point,
            device=os.fsdecode(_unescape(back[1])),
            fstype=os.fsdecode(_unescape(back[0])),
            number=front[2].decode("ascii", "replace"),
        )
    return list(visible.values())


def by_filesystem(
    mounts: Iterable[Mount], *, points: NameFilter, filesystems: NameFilter
) -> dict[str, list[Mount]]:
    """Group the mounts that a user wants to see by filesystem, each group in the table's order.

    Bind mounts show the same room again, so one of a group will do. The root is wanted whatever
    its type: in a container it is an overlay, and its room is what a user asks for first.
    """
    groups: dict[str, list[Mount]] = {}
    for mount in mounts:
        wanted_type = mount.point == ROOT or filesystems.admits(mount.fstype)
        if wanted_type and points.admits(mount.point):
            groups.setdefault(mount.number, []).append(mount)
    return groups


def _unescape(raw: bytes) -> bytes:
    return ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), raw)
