"""Real processes of a test: started with a mark, waited for with a bound, and none left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.ports import free_port as free_port  # for those who start processes on one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHECKOUT = Path(__file__).parents[2]
MARK = "E2E_MARK"  # every process of a test inherits it
POLL_S = 0.02
LOG_TAIL = 6000  # characters of a log that a failed test shows

T = TypeVar("T")


def until(look: Callable[[], T], *, within_s: float, what: str) -> T:
    """Look until there is something to see, and return it."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(POLL_S)
    return seen


def say(text: str) -> None:
    """Write to what pytest shows of a failed test, or with -rP."""
    sys.stdout.write(text + "\n")


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children_of(pid: int) -> dict[int, str]:
    """Return the direct children of a process and their command lines."""
    found: dict[int, str] = {}
    for each in _all_pids():
        with suppress(OSError):
            parent = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and is_running(each):
                found[each] = _command(each)
    return found


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


@dataclass
class Running:
    """A process that a test started; its output goes to a file."""

    name: str
    popen: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str, *, within_s: float) -> None:
        """Wait until it has written something."""

        def look() -> bool:
            assert text in self.log or self.popen.poll() is None, (
                f"{self.name} exited {self.popen.returncode}: {self.log[-LOG_TAIL:]}"
            )
            return text in self.log

        until(look, within_s=within_s, what=f"{text!r} of {self.name}")

    def end(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 10.0) -> int:
        """Send a signal, wait for the end, return the status."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout=within_s)


@dataclass
class Ground:
    """The place of one test: a folder, an environment, and all the processes that came of it."""

    folder: Path = field(
        # Not pytest's own folder: that is 0700, and PostgreSQL's account must come through.
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="hostpulse-e2e-"))
    )
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    started: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.chmod(0o711)

    def environment(self, **variables: str | Path) -> dict[str, str]:
        """Return our environment without other settings of hostpulse, marked, and with these."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOSTPULSE_", "PYTEST_"))}
        return kept | {MARK: self.mark} | {k: str(v) for k, v in variables.items()}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str],
        *,
        cwd: Path = CHECKOUT,
        **options: object,
    ) -> Running:
        """Start a process in a session of its own."""
        output = self.folder / f"{name}.{len(self.started)}.log"
        with output.open("wb") as log:
            popen = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,  # pyright: ignore[reportArgumentType, reportCallIssue]
            )
        running = Running(name, popen, output)
        self.started.append(running)
        return running

    def survivors(self) -> dict[int, str]:
        """Return what still runs of this test: by its mark, its folder as argument or as cwd.

        The last two find PostgreSQL, which is given an environment of its own.
        """
        mark, folder = f"{MARK}={self.mark}".encode(), os.fsencode(self.folder)
        found: dict[int, str] = {}
        for pid in _all_pids():
            place = Path(f"/proc/{pid}")
            with suppress(OSError):
                if not is_running(pid):
                    continue
                command = (place / "cmdline").read_bytes()
                ours = folder + b"/" in command or self._is_inside(place)
                if ours or mark in (place / "environ").read_bytes():
                    found[pid] = _command(pid)
        return found

    def _is_inside(self, process: Path) -> bool:
        try:
            return (process / "cwd").readlink().is_relative_to(self.folder)
        except OSError:
            return False

    def close(self) -> dict[int, str]:
        """End and forget everything; return what should have ended by itself."""
        left = self.survivors()
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for running in self.started:
            with suppress(subprocess.TimeoutExpired):
                running.popen.wait(timeout=5)
            say(f"--- {running.name} ({running.popen.returncode})\n{running.log[-LOG_TAIL:]}")
        until(lambda: not self.survivors(), within_s=10, what="the end of what was killed")
        shutil.rmtree(self.folder, ignore_errors=True)
        return left
