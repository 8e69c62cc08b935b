"""When what is in the WAL of a spool is made to reach the disk."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.spool import Spool

CHECK_INTERVAL_S = 5.0
# A checkpoint waits for the disk three times: the WAL, the file, the header of the next WAL.
CHECKPOINT_IDLE_S = 300.0  # with nothing in the spool but what is on its way
CHECKPOINT_BACKLOG_S = 60.0
BACKLOG_BATCHES = 16
WAL_MAX_BYTES = 8 * 1024 * 1024  # then a checkpoint is made in any case


class Checkpoints:
    """Knows when the last one was; in steady state there is less than one wait a minute.

    Args:
        now_s: A clock that only goes on.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._last_s = now_s()

    def is_due(self, spool: Spool, *, batches: int) -> bool:
        """Whether it is time; sooner with a backlog, which a power cut would take."""
        wal_bytes = spool.wal_bytes()
        wait_s = CHECKPOINT_BACKLOG_S if batches >= BACKLOG_BATCHES else CHECKPOINT_IDLE_S
        late = self._now_s() - self._last_s >= wait_s
        return wal_bytes >= WAL_MAX_BYTES or (wal_bytes > 0 and late)

    async def make(self, checkpoint: Callable[[], None]) -> None:
        """Make one, in a thread: it waits for the disk.

        Raises:
            SpoolUnusableError: The disk does not serve.
            SpoolCorruptError: The file is not as it was written.
        """
        self._last_s = self._now_s()
        await asyncio.to_thread(checkpoint)
