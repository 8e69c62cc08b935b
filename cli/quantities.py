"""How commands write sizes and ages."""

from __future__ import annotations

BYTES_PER_STEP = 1024


def in_bytes(size: float) -> str:
    """Write a size with a unit that keeps it short: 512 B, 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < BYTES_PER_STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= BYTES_PER_STEP
    return f"{size:.1f} TiB"
