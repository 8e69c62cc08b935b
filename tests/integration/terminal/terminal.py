"""A program in a real terminal: a pty, and an emulator that says what stands on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pyte

from cli.children import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WITHIN_S = 30.0
END_S = 10.0


class Terminal:
    """Start a program on a screen of its own.

    Args:
        command: with its arguments.
        environment: all of it.
        columns: of the screen.
        lines: of the screen.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._modes = termios.tcgetattr(theirs)
        self._theirs = theirs  # kept open, so that what was written last is not lost
        self._follow = die_with_parent(signal.SIGKILL)  # remembers who the parent is
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=self._take,
        )

    def _take(self) -> None:
        """Make it the terminal of the new session, whose Ctrl-C is a signal; in the child."""
        self._follow()
        fcntl.ioctl(self._theirs, termios.TIOCSCTTY, 0)

    def text(self) -> str:
        """Return the screen, without the blanks at the ends of its lines."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip() + "\n"

    def styles(self) -> set[str]:
        """Return the colours in use."""
        cells = (cell for line in self._screen.buffer.values() for cell in line.values())
        return {cell.fg for cell in cells} - {"default"}

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def until(self, is_there: Callable[[str], bool]) -> str:
        """Read until the screen looks as it should, and return it."""
        deadline = time.monotonic() + WITHIN_S
        while not is_there(self.text()):
            assert time.monotonic() < deadline, self.text()
            self._read(0.1)
        return self.text()

    def end(self) -> int:
        """Wait for the end, and return the status; the terminal must be as it was."""
        deadline = time.monotonic() + END_S
        while (status := self._process.poll()) is None:
            assert time.monotonic() < deadline, self.text()
            self._read(0.1)
        while self._read(0.1):
            pass
        assert termios.tcgetattr(self._theirs) == self._modes
        return status

    def close(self) -> None:
        """End what runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self, timeout_s: float) -> bool:
        """Take what was written; return whether there was anything."""
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return False
        data = os.read(self._ours, 65536)
        self.raw += data
        self._stream.feed(data)
        return True
