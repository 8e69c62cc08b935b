"""Where the collectors read from: the kernel's files and the clock; tests bring their own."""

from __future__ import annotations

import errno
import os
import sys as system
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# What a kernel answers for a file that it does not have, does not show us, or can't fill just now
# (the speed of a link that is down is EINVAL, pressure that is switched off EOPNOTSUPP).
NOT_TO_BE_HAD = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.ENODEV,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.ESRCH,
    }
)
CHUNK_BYTES = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The watched machine: `linux` chooses between the kernel's files and psutil."""

    clock: Callable[[], float] = time.monotonic
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    linux: bool = system.platform.startswith("linux")

    def read_proc(self, name: str) -> bytes | None:
        """Read a file below /proc; None where there is nothing to be had, OSError otherwise."""
        return read(f"{self.proc}/{name}")

    def read_sys(self, name: str) -> bytes | None:
        """Read a file below /sys; None where there is nothing to be had, OSError otherwise."""
        return read(f"{self.sys}/{name}")


def read(path: str) -> bytes | None:
    """Read a whole file of the kernel's; None where there is nothing to be had.

    Plain system calls: half the cost of a file object, and most of what an agent does is this.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in NOT_TO_BE_HAD:
            return None
        raise
    try:
        chunks: list[bytes] = []
        while chunk := os.read(descriptor, CHUNK_BYTES):
            chunks.append(chunk)
    except OSError as error:
        if error.errno in NOT_TO_BE_HAD:
            return None
        raise
    finally:
        os.close(descriptor)
    return b"".join(chunks)


def text(raw: bytes) -> str:
    """Decode what the kernel or a user named, which may be any bytes, into text for the wire."""
    return raw.decode("utf-8", "replace")
