"""The table of processes: one cheap look at all of them, a closer look at a few."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agent.collectors import memory
from agent.collectors.machine import Machine, read, text

if TYPE_CHECKING:
    from collections.abc import Sequence

CUT_NAME_BYTES = 15  # the kernel keeps no more of a name
KNOWN_USERS = 1024
ARGUMENTS_BYTES = 1024
LOOKED_AT_BYTES = 16 * 1024  # of a command line, which may have megabytes


Show: TypeAlias = Callable[["Sequence[str]"], str]
"""Writes a command line as it may leave the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """A process at a glance; `started_s` tells a later process of the same number from this one."""

    pid: int
    name: str
    started_s: float
    cpu_s: float | None
    rss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReading:
    """All processes of one moment; `now_s` is on the clock that `started_s` is on."""

    processes: Sequence[ProcessReading]
    now_s: float | None = None
    memory_total_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is worth knowing of a process that is among the top."""

    name: str
    username: str | None = None
    cmdline: str | None = None


class ProcessTable(Protocol):
    """Where processes are looked up."""

    def read(self) -> TableReading:
        """Look at all of them; those that vanish meanwhile are left out."""
        ...

    def describe(self, process: ProcessReading, *, show: Show | None) -> Description:
        """Look closer at one; what can't be had is absent, and so are arguments without `show`."""
        ...


class LinuxProcessTable:
    """Reads /proc: one file for each process, and two more for the few that are described."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._users: dict[int, str] = {}

    def read(self) -> TableReading:
        """Look at all processes."""
        uptime = (self._machine.read_proc("uptime") or b"").split()
        proc = str(self._machine.proc)
        processes: list[ProcessReading] = []
        for entry in os.listdir(proc):  # noqa: PTH208 # a thousand path objects are a millisecond
            if entry.isdigit():
                raw = read(f"{proc}/{entry}/stat")
                process = raw and parse_stat(
                    raw, ticks_per_s=self._ticks_per_s, page_bytes=self._page_bytes
                )
                if process:
                    processes.append(process)
        sizes = memory.parse_meminfo(self._machine.read_proc("meminfo") or b"")
        return TableReading(
            processes=processes,
            now_s=float(uptime[0]) if uptime else None,
            memory_total_bytes=sizes.get(b"MemTotal"),
        )

    def describe(self, process: ProcessReading, *, show: Show | None) -> Description:
        """Look closer at one process."""
        user_id = parse_effective_user(self._machine.read_proc(f"{process.pid}/status") or b"")
        name_is_cut = len(process.name.encode()) >= CUT_NAME_BYTES
        argv: list[bytes] = []
        if show or name_is_cut:
            raw = (self._machine.read_proc(f"{process.pid}/cmdline") or b"")[:LOOKED_AT_BYTES]
            argv = raw.rstrip(b"\0").split(b"\0") if raw else []
        return Description(
            name=whole_name(process.name, argv) if name_is_cut else process.name,
            username=None if user_id is None else self._username(user_id),
            cmdline=write_arguments(argv, show) if show and argv else None,
        )

    def _username(self, user_id: int) -> str:
        import pwd  # not on Windows

        if user_id not in self._users:
            if len(self._users) >= KNOWN_USERS:
                self._users.clear()
            try:
                self._users[user_id] = pwd.getpwuid(user_id).pw_name
            except KeyError:  # of a container or a directory that does not answer: as ps prints it
                self._users[user_id] = str(user_id)
        return self._users[user_id]


class PortableProcessTable:
    """Asks psutil, which has every system's own way."""

    def read(self) -> TableReading:
        """Look at all processes."""
        import psutil  # 1 MB that an agent on Linux does not pay

        processes: list[ProcessReading] = []
        for process in psutil.process_iter(["name", "create_time", "cpu_times", "memory_info"]):
            facts = process.info
            times, sizes = facts.get("cpu_times"), facts.get("memory_info")
            processes.append(
                ProcessReading(
                    pid=process.pid,
                    name=_wire_text(facts.get("name") or ""),
                    started_s=facts.get("create_time") or 0.0,
                    cpu_s=None if times is None else times.user + times.system,
                    rss_bytes=getattr(sizes, "rss", None),
                )
            )
        return TableReading(
            processes=processes,
            memory_total_bytes=memory.read_elsewhere().total,
        )

    def describe(self, process: ProcessReading, *, show: Show | None) -> Description:
        """Look closer at one process."""
        import psutil

        username: str | None = None
        cmdline: str | None = None
        try:
            one = psutil.Process(process.pid)
            username = _wire_text(one.username())
            argv = [part.encode("utf-8", "replace") for part in one.cmdline()] if show else []
            cmdline = write_arguments(argv, show) if show and argv else None
        except (psutil.Error, OSError, KeyError):  # gone, or not ours to look at
            pass
        return Description(name=process.name, username=username, cmdline=cmdline)


def parse_stat(raw: bytes, *, ticks_per_s: int, page_bytes: int) -> ProcessReading | None:
    """Parse /proc/<pid>/stat (proc_pid_stat(5)); None where it is cut off.

    The name stands in parentheses and may hold anything, parentheses and blanks too.
    """
    opening, closing = raw.find(b"("), raw.rfind(b")")
    columns = raw[closing + 1 :].split(None, 22)
    if opening < 0 or closing < opening or len(columns) < 22:
        return None
    try:
        return ProcessReading(
            pid=int(raw[:opening]),
            name=text(raw[opening + 1 : closing]),
            cpu_s=(int(columns[11]) + int(columns[12])) / ticks_per_s,
            started_s=int(columns[19]) / ticks_per_s,
            rss_bytes=max(int(columns[21]), 0) * page_bytes,
        )
    except ValueError:
        return None


def parse_effective_user(status: bytes) -> int | None:
    """Find the second number of the line `Uid:` in /proc/<pid>/status, as ps(1) does."""
    _, found, rest = status.partition(b"\nUid:")
    columns = rest.split(None, 2)
    return int(columns[1]) if found and len(columns) > 1 and columns[1].isdigit() else None


def whole_name(cut: str, argv: Sequence[bytes]) -> str:
    """Complete a name that the kernel cut with that of the program, where it is the same one."""
    program = text(argv[0].rpartition(b"/")[2]) if argv else ""
    return program if program.startswith(cut) else cut


def _wire_text(name: str) -> str:
    return text(name.encode("utf-8", "replace"))


def write_arguments(argv: Sequence[bytes], show: Show) -> str:
    """Write a command line; at most 1 KiB of it, cut between characters after redaction."""
    shown = show([text(argument) for argument in argv]).replace("\0", " ").encode()
    return shown[:ARGUMENTS_BYTES].decode("utf-8", "ignore")
