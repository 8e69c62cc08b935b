"""What an operator may choose about the collectors, with the defaults that users expect."""

from __future__ import annotations

import fnmatch
import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.redaction import RedactionMode

if TYPE_CHECKING:
    from collections.abc import Mapping

PSEUDO_FILESYSTEMS = (
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fdescfs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "linprocfs",
    "linsysfs",
    "mqueue",
    "nsfs",
    "nullfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
)
IMAGE_FILESYSTEMS = (  # read-only and always full, by design
    "cd9660",
    "cramfs",
    "erofs",
    "fuse.snapfuse",
    "iso9660",
    "romfs",
    "squashfs",
)
CONTAINER_MOUNTS = (  # the room in them is that of the filesystem they live on
    "/dev/*",
    "/proc/*",
    "/run/credentials/*",
    "/run/user/*",
    "/sys/*",
    "/var/lib/containers/*",
    "/var/lib/docker/*",
    "/var/lib/kubelet/pods/*",
)
MEMORY_AND_REMOVABLE_DEVICES = ("fd[0-9]*", "loop*", "mmcblk*boot*", "ram*", "sr[0-9]*", "zram*")
VIRTUAL_INTERFACES = ("br-*", "cni*", "docker*", "lo", "lo0", "veth*", "virbr*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFilter:
    """Chooses names by shell patterns; `exclude` wins, an empty `include` admits everything.

    A `*` matches any text, slashes too.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def admits(self, name: str) -> bool:
        """Say whether a name passes."""
        if self.exclude and _pattern(self.exclude).match(name):
            return False
        return not self.include or _pattern(self.include).match(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """All knobs of the collectors; a filter that is given replaces the default one as a whole.

    Raises ValueError for a value that no collector could work with.
    """

    mounts: NameFilter = NameFilter(exclude=CONTAINER_MOUNTS)
    # The root filesystem is watched whatever its type is: in containers it is an overlay.
    filesystems: NameFilter = NameFilter(exclude=PSEUDO_FILESYSTEMS + IMAGE_FILESYSTEMS)
    # Partitions are left out as well, unless `include` names one literally.
    devices: NameFilter = NameFilter(exclude=MEMORY_AND_REMOVABLE_DEVICES)
    interfaces: NameFilter = NameFilter(exclude=VIRTUAL_INTERFACES)
    # By interface; wins over what the driver says.
    interface_speeds_mbps: Mapping[str, float] = field(default_factory=dict[str, float])
    process_top_n: int = 10
    redaction: RedactionMode = RedactionMode.NAMES
    redaction_patterns: tuple[str, ...] = ()
    mount_timeout_s: float = 1.0

    def __post_init__(self) -> None:
        if self.process_top_n < 0:
            raise ValueError(f"process_top_n must be 0 or more, got {self.process_top_n}")
        if not 0 < self.mount_timeout_s <= 60:
            raise ValueError(
                f"mount_timeout_s must be above 0 and at most 60, got {self.mount_timeout_s}"
            )
        for interface, speed in self.interface_speeds_mbps.items():
            if not 0 < speed < float("inf"):
                raise ValueError(
                    f"interface_speeds_mbps of {interface} must be above 0, got {speed}"
                )


@functools.lru_cache(maxsize=64)
def _pattern(shell_patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in shell_patterns))
