"""Why this agent stops, as far as an ordinary process can tell: for Goodbye.

UPGRADE    the code of this process is another one on disk by now
REBOOT     a scheduled `shutdown -r` is due (logind(8)); a host that reboots at once tells nobody
           but root's tools and its bus, and shows as a `boot` when it is back
SHUTDOWN   nothing else is known
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hostpulse
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from hostpulse.clock import Clock

SCHEDULED = "run/systemd/shutdown/scheduled"
REBOOTS = frozenset({"reboot", "kexec", "soft-reboot"})
DUE_WITHIN_S = 5.0  # an agent that is stopped before had another reason


class Farewell:
    """Made at the start, asked at the stop.

    Args:
        clock: Tells whether a scheduled shutdown is due.
        code: The file that an upgrade replaces.
        root: Of the host's files.
    """

    def __init__(self, clock: Clock, *, code: Path | None = None, root: Path = Path("/")) -> None:
        frozen = getattr(sys, "frozen", False)
        self._clock = clock
        self._code = code or Path(sys.executable if frozen else hostpulse.__file__)
        self._scheduled = root / SCHEDULED
        self._began_with = _version(self._code)

    def reason(self) -> telemetry_pb2.GoodbyeReason:
        """Return the reason that is known now."""
        if self._reboots():
            return telemetry_pb2.GOODBYE_REASON_REBOOT
        if _version(self._code) not in (None, self._began_with):
            return telemetry_pb2.GOODBYE_REASON_UPGRADE
        return telemetry_pb2.GOODBYE_REASON_SHUTDOWN

    def _reboots(self) -> bool:
        try:
            text = self._scheduled.read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        entries = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
        if entries.get("MODE") not in REBOOTS or not entries.get("USEC", "").isdecimal():
            return False
        due_ns = int(entries["USEC"]) * 1000
        return due_ns <= self._clock.wall_ns() + round(DUE_WITHIN_S * NS_PER_S)


def _version(code: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced; None where it is gone, as after an uninstall."""
    try:
        seen = code.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size
