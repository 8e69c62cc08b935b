"""Token buckets, one for each key or address: how fast somebody may go, and how far ahead.

Libraries for this count windows, keep a thread, or have no bound on the callers that they
remember; a bucket is one number a caller (the generic cell rate algorithm, ITU-T I.371): the moment
at which it will be full again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostpulse import errors
from hostpulse.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hostpulse.clock import Clock

CALLERS_MAX = 20_000  # remembered; the one that was heard from longest ago starts anew


class Limited(errors.Retryable):
    """Somebody goes too fast; `after_s` says when to come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How much a second in the long run, and how much at once."""

    per_s: float
    burst: float

    def __post_init__(self) -> None:
        """Refuse a rate that admits nothing."""
        if not (self.per_s > 0 and self.burst >= 1):
            raise ValueError(f"rate must be more than 0 a second and 1 at once, got {self}")


class Buckets:
    """A bucket for each caller.

    Args:
        rate: of every caller.
        clock: its monotonic side.
    """

    def __init__(self, rate: Rate, *, clock: Clock) -> None:
        self._ns_each = NS_PER_S / rate.per_s
        self._depth_ns = rate.burst * self._ns_each
        self._clock = clock
        self._full_at_ns: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._full_at_ns)

    def take(self, caller: Hashable, amount: float = 1.0) -> float:
        """Take tokens if they are there; return 0, or in how many seconds to come again.

        A refusal takes nothing, so whoever keeps knocking is let in as soon as one who waits.
        """
        wait_ns, full_at_ns = self._try(caller, amount)
        if wait_ns > 0:
            return wait_ns / NS_PER_S
        self._remember(caller, full_at_ns)
        return 0.0

    def charge(self, caller: Hashable, amount: float) -> float:
        """Take tokens, there or not; return for how many seconds the caller is to be left alone."""
        wait_ns, full_at_ns = self._try(caller, amount)
        self._remember(caller, full_at_ns)
        return max(0.0, wait_ns / NS_PER_S)

    def peek(self, caller: Hashable, amount: float = 1.0) -> float:
        """Return in how many seconds so many tokens are there, and take none."""
        return max(0.0, self._try(caller, amount)[0] / NS_PER_S)

    def _try(self, caller: Hashable, amount: float) -> tuple[float, float]:
        """Return how long to wait for the tokens, and when the bucket is full again after them."""
        now_ns = self._clock.monotonic_ns()
        full_at_ns = max(now_ns, self._full_at_ns.get(caller, 0)) + amount * self._ns_each
        return full_at_ns - now_ns - self._depth_ns, full_at_ns

    def _remember(self, caller: Hashable, full_at_ns: float) -> None:
        """Keep a caller's bucket; the least recent one is forgotten beyond the maximum."""
        self._full_at_ns[caller] = full_at_ns
        self._full_at_ns.move_to_end(caller)
        while len(self._full_at_ns) > CALLERS_MAX:
            self._full_at_ns.popitem(last=False)
