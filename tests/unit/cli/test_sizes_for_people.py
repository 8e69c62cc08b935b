"""What `hostpulse db status` prints for people."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from cli import databases
from storage.status import Size

if TYPE_CHECKING:
    import pytest

GIB = 1 << 30


def test_sizes_of_a_big_database_stand_in_one_line_each_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    size = Size(
        relation="agent_health_1m",
        tier="1m",
        chunks=8,
        rows=432_100_000,
        heap_bytes=1000 * GIB,
        index_bytes=999 * GIB,
        toast_bytes=1 << 20,
        archive_bytes=0,
        values_per_row=30.0,
        compression_ratio=17.5,
        begin=None,
    )

    databases._show_sizes(SimpleNamespace(sizes=[size]))  # type: ignore[arg-type]

    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "agent_health_1m" in line]
    assert len(row) <= 80
    assert "~432.1 M" in row
    assert "999.0 GiB" in row
    assert "17.5 : 1" in row
    assert len(lines) == 5  # of the head 3, of the row 1, and the end
