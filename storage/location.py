"""Where hostpulse keeps its own files on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

SYSTEM_DATA_DIR = Path("/var/lib/hostpulse")


def default_data_dir() -> Path:
    """Return `/var/lib/hostpulse` for root, else the platform's place for a user's data."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return SYSTEM_DATA_DIR
    return Path(platformdirs.user_data_dir("hostpulse", appauthor=False))


def data_dir() -> Path:
    """Return `HOSTPULSE_DATA_DIR`, else the default; absolute, and not necessarily there."""
    configured = os.environ.get("HOSTPULSE_DATA_DIR")
    return Path(configured).expanduser().absolute() if configured else default_data_dir()


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
