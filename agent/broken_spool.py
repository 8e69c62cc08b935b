"""A spool's file that is not as it was written: what can still be read of it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from agent import spool_rows
from agent.spool import PLACE_MAX, ROWS
from agent.spool_file import SpoolUnusableError, connect, explained
from agent.spool_rows import SpoolCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import TypeVar

    from agent.batches import BufferedBatch
    from agent.dropped import Dropped
    from agent.spool_rows import SpooledEpoch

    T = TypeVar("T")

PLACES = (
    "SELECT min(place), max(place) FROM"
    " (SELECT place FROM batch INDEXED BY batch_number WHERE epoch > 0)"
)
SKIPPED_MAX = 100_000  # places in a row that can't be read; a second or so


class BrokenSpool:
    """An open file that nobody else has open; whoever opens it closes it.

    Reading never raises: what can't be read is not there.

    Args:
        path: Of the SQLite file.

    Raises:
        SpoolUnusableError: The disk does not serve now.
        SpoolCorruptError: It is no SQLite file any more.
    """

    def __init__(self, path: Path) -> None:
        with explained():
            self._connection = connect(path)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError), explained():
            self._connection.close()

    def epochs(self) -> Generator[SpooledEpoch]:
        """Yield the epochs that are known."""
        yield from self._readable("SELECT * FROM epoch", spool_rows.read_epoch)

    def dropped(self) -> Generator[Dropped]:
        """Yield the ranges that were given up and not yet reported."""
        yield from self._readable("SELECT * FROM dropped ORDER BY rowid", spool_rows.read_dropped)

    def batches(self) -> Generator[BufferedBatch]:
        """Yield the batches, each once: around what is broken, from the oldest on and back."""
        seen: set[int] = set()
        for backwards in (False, True):
            for row in self._rows(backwards=backwards):
                if row[0] in seen:
                    break
                seen.add(row[0])
                with contextlib.suppress(SpoolCorruptError):
                    yield spool_rows.read_batch(row)

    def _rows(self, *, backwards: bool) -> Generator[tuple[Any, ...]]:
        """Yield rows in one direction; where one can't be read, try from one place further."""
        edge, step = (PLACE_MAX, -1) if backwards else (-PLACE_MAX, 1)
        place, skipped = edge, 0
        while skipped < SKIPPED_MAX:
            try:
                with explained():
                    row = self._connection.execute(ROWS[backwards], (place, 1)).fetchone()
            except (SpoolCorruptError, SpoolUnusableError):
                if place == edge:
                    lowest, highest = self._places()
                    place = highest if backwards else lowest
                else:
                    place += step
                skipped += 1
                continue
            if row is None:
                return
            place, skipped = row[0], 0
            yield row

    def _places(self) -> tuple[int, int]:
        """Return the least and the greatest place that the index knows, which has its own pages."""
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError), explained():
            lowest, highest = self._connection.execute(PLACES).fetchone()
            return lowest or 0, highest or 0
        return 0, 0

    def _readable(self, statement: str, read: Callable[[tuple[Any, ...]], T]) -> Generator[T]:
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError), explained():
            for row in self._connection.execute(statement):
                with contextlib.suppress(SpoolCorruptError):
                    yield read(row)
