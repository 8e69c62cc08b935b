"""The way to a spool whose disk may not serve, and whose file may break while it is used.

attempt ─▶ Spool ─── the disk is full or read-only ──▶ None: the caller does without
             └───── the file is corrupt ─▶ replaced by what can be read of it, tried again
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agent import quarantine
from agent.spool_file import SpoolUnusableError
from agent.spool_rows import SpoolCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path
    from typing import TypeVar

    from agent.spool import Spool

    T = TypeVar("T")

log = logging.getLogger(__name__)


class SpoolAccess:
    """Opens the spool, and opens it again after trouble; whoever makes it closes it.

    Args:
        path: Of the spool's file.
        opened: Takes over a spool that was just opened; may raise what a spool raises.
        elsewhere: Returns (epoch, seq) of what is kept in another place, and so not lost.

    Attributes:
        spool: The open one; None while the disk does not serve.
    """

    def __init__(
        self,
        path: Path,
        *,
        opened: Callable[[Spool], None],
        elsewhere: Callable[[], Collection[tuple[int, int]]],
    ) -> None:
        self._path = path
        self._opened = opened
        self._elsewhere = elsewhere
        self._problem = ""
        # SQLite deletes a WAL by its name when its last connection closes; that the file was not
        # renamed it checks before it writes and waits, not after. So no checkpoint may be about to
        # close the broken file while the new one takes its name.
        self._file = threading.Lock()
        self.spool: Spool | None = None

    def attempt(self, act: Callable[[Spool], T]) -> T | None:
        """Do something with the spool; None where that fails, or there is none."""
        for _ in range(2):
            if self.spool is None:
                return None
            try:
                return act(self.spool)
            except SpoolUnusableError as error:
                self.note(str(error))
                return None
            except SpoolCorruptError as error:
                self._replace(str(error))
        return None

    def checkpoint(self, spool: Spool) -> None:
        """Have a spool reach the disk, unless it is not in use any more; in any thread.

        Raises:
            SpoolUnusableError: The disk does not serve.
            SpoolCorruptError: The file is not as it was written.
        """
        with self._file:
            if spool is self.spool:
                spool.checkpoint()

    def open(self) -> None:
        """Open the spool as the last process left it, or go on without; once is enough."""
        if self.spool is None:
            with self._file:
                self._use(lambda: quarantine.open_checked(self._path, elsewhere=self._elsewhere()))

    def close(self) -> None:
        """Close the file."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def note(self, problem: str) -> None:
        """Say that the disk does not serve; the same again is no news."""
        if problem != self._problem:
            self._problem = problem
            log.error(
                "spool_unusable",
                extra={"path": str(self._path), "error": problem, "until_then": "kept in memory"},
            )

    def serves(self) -> None:
        """Say that the disk serves again, where it did not."""
        if self._problem and self.spool is not None:
            self._problem = ""
            log.info("spool_usable_again", extra={"path": str(self._path)})

    def _replace(self, problem: str) -> None:
        with self._file:
            self.close()
            self._use(lambda: quarantine.replace(self._path, problem, elsewhere=self._elsewhere()))

    def _use(self, make: Callable[[], Spool]) -> None:
        try:
            spool = make()
            try:
                self._opened(spool)
            except BaseException:
                spool.close()
                raise
        except (SpoolUnusableError, SpoolCorruptError) as error:
            self.note(str(error))
        else:
            self.spool = spool
