"""Charts of one line: as text, and as a PNG.

Written by hand, because one line over a threshold is all that there is to draw: about a hundred
lines and the standard library's zlib stand against a package of several megabytes with C parsers in
the process that must not fail. The PNG is palette-based (RFC 2083), so an hour is about 1 KB.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING

from alerting import glyphs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

BARS = "▁▂▃▄▅▆▇█"
SPARKS_MAX = 40
WIDTH, HEIGHT = 552, 168
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 20, 20
SIGNATURE = b"\x89PNG\r\n\x1a\n"
WHITE, GRID, LINE, FILL, LIMIT, TEXT = range(6)
PALETTE = ("#ffffff", "#cfd8dc", "#263238", "#eceff1", "#c62828", "#546e7a")


def sparkline(values: Sequence[float]) -> str:
    """Write values as bars of eight heights, at most 40 of them."""
    if not values:
        return ""
    count = min(len(values), SPARKS_MAX)
    parts = [
        values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)
    ]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    if high == low:
        return BARS[0] * count
    return "".join(BARS[round((mean - low) / (high - low) * (len(BARS) - 1))] for mean in means)


def png(
    course: Sequence[tuple[datetime, float]],
    *,
    threshold: float,
    labels: tuple[str, str],
    colour: str = PALETTE[LINE],
) -> bytes:
    """Draw a line over time with its threshold.

    Args:
        course: moments and values in the order of time, at least two of different moments.
        threshold: drawn dashed where it lies near the values.
        labels: the highest and the lowest value as people write them.
        colour: of the threshold, `#rrggbb`.
    """
    canvas = _Canvas()
    values = [value for _, value in course]
    low, high = min(values), max(values)
    span = (high - low) or max(abs(high), 1.0)
    if low - span <= threshold <= high + span:
        low, high = min(low, threshold), max(high, threshold)
    pad = ((high - low) or span) * 0.05
    low, high = low - pad, high + pad
    first, last = course[0][0], course[-1][0]
    seconds = max((last - first).total_seconds(), 1.0)

    def x_of(moment: datetime) -> int:
        share = (moment - first).total_seconds() / seconds
        return LEFT + round(share * (WIDTH - LEFT - RIGHT - 1))

    def y_of(value: float) -> int:
        return (
            HEIGHT - BOTTOM - 1 - round((value - low) / (high - low) * (HEIGHT - TOP - BOTTOM - 1))
        )

    points = [(x_of(moment), y_of(value)) for moment, value in course]
    for one, other in itertools.pairwise(points):
        canvas.fill_below(one, other)
    canvas.across(HEIGHT - BOTTOM, GRID)
    if low <= threshold <= high:
        canvas.across(y_of(threshold), LIMIT, dash=6)
    for one, other in itertools.pairwise(points):
        canvas.line(one, other)
    canvas.text(LEFT, 6, labels[0])
    canvas.text(LEFT, HEIGHT - BOTTOM - 10, labels[1])
    canvas.text(LEFT, HEIGHT - 12, f"{first:%H:%M}")
    end = f"{last:%H:%M} {last.tzname() or ''}".strip()
    canvas.text(WIDTH - RIGHT - glyphs.width(end), HEIGHT - 12, end)
    return canvas.encode(colour)


class _Canvas:
    """A picture of palette numbers."""

    def __init__(self) -> None:
        self._rows = [bytearray(WIDTH) for _ in range(HEIGHT)]

    def across(self, y: int, colour: int, *, dash: int = 0) -> None:
        """Draw a horizontal line."""
        for x in range(LEFT, WIDTH - RIGHT):
            if not dash or (x // dash) % 2 == 0:
                self._rows[y][x] = colour

    def fill_below(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        """Fill between a stretch of the line and the axis."""
        (x0, y0), (x1, y1) = one, other
        for x in range(x0, x1 + 1):
            y = y0 + round((y1 - y0) * (x - x0) / max(x1 - x0, 1))
            for row in self._rows[y : HEIGHT - BOTTOM]:
                row[x] = FILL

    def line(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        """Draw a line two pixels thick."""
        (x0, y0), (x1, y1) = one, other
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x = x0 + round((x1 - x0) * step / steps)
            y = y0 + round((y1 - y0) * step / steps)
            self._rows[y][x] = LINE
            self._rows[max(y - 1, 0)][x] = LINE

    def text(self, x: int, y: int, text: str) -> None:
        """Write letters; those without a shape stay blank."""
        for dx, dy in glyphs.pixels(text):
            if 0 <= x + dx < WIDTH and 0 <= y + dy < HEIGHT:
                self._rows[y + dy][x + dx] = TEXT

    def encode(self, limit: str) -> bytes:
        """Return the PNG."""
        colours = [limit if number == LIMIT else each for number, each in enumerate(PALETTE)]
        palette = b"".join(bytes.fromhex(each.removeprefix("#")) for each in colours)
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\x00" + bytes(row) for row in self._rows), 9)
        parts = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", pixels), (b"IEND", b""))
        return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    length, check = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(kind + content))
    return length + kind + content + check
