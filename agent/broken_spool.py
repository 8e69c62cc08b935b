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
        """Yield the batches, each once, from both ends towards what is broken."""
        seen: set[int] = set()
        for backwards in (False, True):
            place = PLACE_MAX if backwards else -PLACE_MAX
            while row := self._next(place, backwards=backwards):
                if (place := row[0]) in seen:
                    break
                seen.add(place)
                with contextlib.suppress(SpoolCorruptError):
                    yield spool_rows.read_batch(row)

    def _next(self, place: int, *, backwards: bool) -> tuple[Any, ...] | None:
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError), explained():
            return self._connection.execute(ROWS[backwards], (place, 1)).fetchone()
        return None

    def _readable(self, statement: str, read: Callable[[tuple[Any, ...]], T]) -> Generator[T]:
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError), explained():
            for row in self._connection.execute(statement):
                with contextlib.suppress(SpoolCorruptError):
                    yield read(row)
