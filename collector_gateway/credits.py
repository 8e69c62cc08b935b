"""Leave to send backlog: as much as the queue can take, in turn to all who have some.

A fleet that comes back after an outage brings hours of batches at once. Every batch of backlog that
is on its way to the queue or in it holds one credit of one pool, from its grant to its verdict, so
that the queue never fills and fresh batches never wait behind it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM_MAX = 64  # credits that one stream holds at most
REFILL_AT = 32  # and at which it is given more: one message serves many batches
IDLE_S = 10.0  # credits that are not used for so long are given to others


class Holder:
    """One stream that has backlog.

    Args:
        grant: tells the agent that it may send so many more.
        wanted: how many batches the agent may still have, as far as is known.
    """

    def __init__(self, grant: Callable[[int], None], wanted: int) -> None:
        self.grant = grant
        self.wanted = wanted
        self.unspent = 0
        self.queued = 0
        self.used_s = 0.0
        self.is_waiting = False

    @property
    def held(self) -> int:
        """How many credits it holds."""
        return self.unspent + self.queued


class Credits:
    """The pool.

    Args:
        pool: credits in all.
        now_s: a clock that only goes on.
    """

    def __init__(self, pool: int, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.free = pool
        self._now_s = now_s
        self._waiting: deque[Holder] = deque()
        self._idle_candidates: dict[Holder, None] = {}
        self._looked_s = 0.0

    def join(self, holder: Holder) -> None:
        """Let a stream have credits as they come free."""
        holder.used_s = self._now_s()
        self._queue(holder)
        self._share()

    def spent(self, holder: Holder) -> None:
        """Note that a batch of a stream's backlog has come; `settled` will follow."""
        holder.used_s = self._now_s()
        if holder.unspent:
            holder.unspent -= 1
        else:
            self.free -= 1  # it had been taken for idle, or it knows no credits
        holder.queued += 1
        self._queue(holder)

    def settled(self, holder: Holder) -> None:
        """Note that such a batch has its verdict."""
        holder.queued -= 1
        self.free += 1
        self._queue(holder)
        self._share()

    def unneeded(self, holder: Holder, batches: int) -> None:
        """Note that batches of a stream's backlog came as fresh ones, or will never come."""
        fewer = min(holder.wanted, batches)
        holder.wanted -= fewer
        self._release(holder, min(holder.unspent, batches - fewer))
        self._share()

    def leave(self, holder: Holder) -> None:
        """Take back what a stream that ended has not used."""
        holder.wanted = 0
        holder.grant = _grant_nobody  # and let go of whom it told
        self._release(holder, holder.unspent)
        self._share()

    def _queue(self, holder: Holder) -> None:
        """Put a stream in line if it can use credits."""
        if holder.wanted and not holder.is_waiting and holder.held <= REFILL_AT:
            holder.is_waiting = True
            self._waiting.append(holder)

    def _share(self) -> None:
        """Give out what is free, in turn."""
        if self._waiting and self.free <= 0:
            self._take_back_idle()
        while self._waiting and self.free > 0:
            holder = self._waiting.popleft()
            holder.is_waiting = False
            granted = min(STREAM_MAX - holder.held, holder.wanted, self.free)
            if granted <= 0:
                continue
            holder.wanted -= granted
            holder.unspent += granted
            self.free -= granted
            self._idle_candidates[holder] = None
            holder.grant(granted)

    def _take_back_idle(self) -> None:
        """Take credits from streams that do not use them; looks once a second at most."""
        now_s = self._now_s()
        if now_s - self._looked_s < 1.0:
            return
        self._looked_s = now_s
        for holder in list(self._idle_candidates):
            if holder.unspent == 0:
                del self._idle_candidates[holder]
            elif now_s - holder.used_s > IDLE_S:
                del self._idle_candidates[holder]
                self._release(holder, holder.unspent)

    def _release(self, holder: Holder, credits: int) -> None:
        holder.unspent -= credits
        self.free += credits


def _grant_nobody(_batches: int) -> None:
    """Take the place of a stream that ended."""
