"""Charts as text and as PNG, read back by an independent reader."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from alerting import charts, evidence

START = datetime(2026, 2, 2, 14, 0, tzinfo=UTC)


def read(png: bytes) -> tuple[int, int, list[bytes], list[str]]:
    """Return width, height, rows of palette numbers, and the palette."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", png, at + 8 + length)
        assert crc == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    raw = zlib.decompress(chunks[b"IDAT"])
    rows = [raw[y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]
    assert {row[0] for row in rows} == {0}
    palette = chunks[b"PLTE"].hex()
    colours = [f"#{palette[i : i + 6]}" for i in range(0, len(palette), 6)]
    return width, height, [row[1:] for row in rows], colours


def draw(values: list[float], threshold: float = 80.0) -> bytes:
    course = [(START + timedelta(seconds=30 * n), value) for n, value in enumerate(values)]
    return charts.png(course, threshold=threshold, labels=("95.0 %", "20.0 %"), colour="#c62828")


def test_a_chart_is_a_small_valid_png_with_line_threshold_and_text():
    width, height, rows, colours = read(draw([20.0] * 60 + [95.0] * 60))
    drawn = {number for row in rows for number in row}

    assert (width, height) == (charts.WIDTH, charts.HEIGHT)
    assert colours[charts.LIMIT] == "#c62828"
    assert drawn == set(range(6))
    assert len(draw([20.0] * 60 + [95.0] * 60)) < 3000


def test_the_line_is_low_before_and_high_after():
    _, _, rows, _ = read(draw([20.0] * 60 + [95.0] * 60))

    def height_at(x: int) -> int:
        return next(y for y in range(charts.TOP, charts.HEIGHT) if rows[y][x] == charts.LINE)

    assert height_at(charts.WIDTH // 4) > height_at(3 * charts.WIDTH // 4) + 80


@pytest.mark.parametrize(
    "values",
    [[5.0, 5.0], [0.0, 0.0, 0.0], [1e-9, 1e12], [-5.0, 5.0], [80.0, 80.0]],
    ids=["flat", "zero", "wide", "negative", "at the threshold"],
)
def test_any_values_can_be_drawn(values):
    read(draw(values))


def test_a_threshold_far_away_does_not_flatten_the_line():
    _, _, rows, _ = read(draw([1.0, 2.0, 1.0, 2.0], threshold=1e9))

    assert charts.LIMIT not in {number for row in rows for number in row}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ""), ([3.0], "▁"), ([1.0, 1.0], "▁▁"), ([0.0, 3.5, 7.0], "▁▅█"), ([7.0, 0.0], "█▁")],
)
def test_a_sparkline_has_the_shape_of_its_values(values, expected):
    assert charts.sparkline(values) == expected


def test_a_long_sparkline_is_thinned_out():
    assert len(charts.sparkline([float(n) for n in range(1000)])) == charts.SPARKS_MAX


GIB = 1 << 30


@pytest.mark.parametrize(
    ("trend", "expected"),
    [
        pytest.param(
            {"bytes_per_s": GIB / 3600, "r2": 0.95, "samples": 360, "free_bytes": 6 * GIB},
            ["grows by 1 GiB an hour over the last 6 h: full in about 6 h"],
            id="a straight line",
        ),
        pytest.param(
            {"bytes_per_s": GIB / 3600, "r2": 0.79, "samples": 360, "free_bytes": 6 * GIB},
            [],
            id="no straight line",
        ),
        pytest.param(
            {"bytes_per_s": -5.0, "r2": 0.99, "samples": 360, "free_bytes": 6 * GIB},
            [],
            id="it shrinks",
        ),
        pytest.param(
            {"bytes_per_s": GIB / 3600, "r2": 0.99, "samples": 5, "free_bytes": 6 * GIB},
            [],
            id="too few samples",
        ),
        pytest.param(
            {"bytes_per_s": 1.0, "r2": 0.99, "samples": 360, "free_bytes": 6 * GIB},
            [],
            id="not within three months",
        ),
        pytest.param(
            {"bytes_per_s": None, "r2": None, "samples": 0, "free_bytes": None}, [], id="nothing"
        ),
    ],
)
def test_growth_is_told_only_where_it_is_a_line(trend, expected):
    assert evidence.growth(**trend) == expected
