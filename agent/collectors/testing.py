"""A host made of files, for tests of collectors and of what is built on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.collectors.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class FakeHost:
    """A /proc and a /sys below a folder, and a clock that moves when it is told to."""

    folder: Path
    now_s: float = 1000.0

    @property
    def proc(self) -> Path:
        """The folder that stands for /proc."""
        return self.folder / "proc"

    @property
    def sys(self) -> Path:
        """The folder that stands for /sys."""
        return self.folder / "sys"

    def machine(self, *, linux: bool = True) -> Machine:
        """The machine that collectors are to read."""
        return Machine(clock=lambda: self.now_s, proc=self.proc, sys=self.sys, linux=linux)

    def write_proc(self, name: str, content: str | bytes) -> None:
        """Set the content of a file below /proc."""
        _write(self.proc / name, content)

    def write_sys(self, name: str, content: str | bytes) -> None:
        """Set the content of a file below /sys."""
        _write(self.sys / name, content)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
