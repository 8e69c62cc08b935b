"""Letters of five by seven pixels: what numbers, units and times of a chart are written with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADVANCE = 6
# Seven rows from the top, five bits each, the highest is the left.
_SHAPES = {
    "0": "0e 11 13 15 19 11 0e",
    "1": "04 0c 04 04 04 04 0e",
    "2": "0e 11 01 02 04 08 1f",
    "3": "1f 02 04 02 01 11 0e",
    "4": "02 06 0a 12 1f 02 02",
    "5": "1f 10 1e 01 01 11 0e",
    "6": "06 08 10 1e 11 11 0e",
    "7": "1f 01 02 04 08 08 08",
    "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 0c",
    ".": "00 00 00 00 00 0c 0c",
    ",": "00 00 00 00 0c 04 08",
    ":": "00 0c 0c 00 0c 0c 00",
    "-": "00 00 00 1f 00 00 00",
    "%": "18 19 02 04 08 13 03",
    "/": "00 01 02 04 08 10 00",
    "B": "1e 11 11 1e 11 11 1e",
    "C": "0e 11 10 10 10 11 0e",
    "G": "0e 11 10 17 11 11 0f",
    "K": "11 12 14 18 14 12 11",
    "M": "11 1b 15 15 11 11 11",
    "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e",
    "a": "00 00 0e 01 0f 11 0f",
    "b": "10 10 16 19 11 11 1e",
    "c": "00 00 0e 10 10 11 0e",
    "e": "00 00 0e 11 1f 10 0e",
    "h": "10 10 16 19 11 11 11",
    "i": "04 00 0c 04 04 04 0e",
    "k": "10 10 12 14 18 14 12",
    "m": "00 00 1a 15 15 11 11",
    "n": "00 00 16 19 11 11 11",
    "p": "00 00 1e 11 1e 10 10",
    "s": "00 00 0e 10 0e 01 1e",
    "t": "08 08 1c 08 08 09 06",
}
_ROWS = {letter: bytes.fromhex(rows) for letter, rows in _SHAPES.items()}


def width(text: str) -> int:
    """Return how many pixels a text is wide."""
    return ADVANCE * len(text)


def pixels(text: str) -> Iterator[tuple[int, int]]:
    """Yield the pixels of a text, from its upper left corner."""
    for number, letter in enumerate(text):
        for y, row in enumerate(_ROWS.get(letter, b"")):
            for x in range(5):
                if row & (0x10 >> x):
                    yield number * ADVANCE + x, y
