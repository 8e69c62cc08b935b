"""Who goes too fast is told so a second later: then being refused costs the others nothing.

A refusal is cheap, but not free, and who waits for nothing but the next one asks for thousands a
second: enough to keep the one loop busy on which everybody's samples are. Held, it asks as often as
it has streams or connections.
"""

from __future__ import annotations

import asyncio
import math

HOLD_S = 1.0  # the least that a refusal says to stay away
HELD_MAX = 4_000  # at once; the others are refused at once
PUSHBACK = "grpc-retry-pushback-ms"  # as gRPC's own retries have it (proposal A6)


class Holding:
    """Holds refusals back, a bounded number of them."""

    def __init__(self) -> None:
        self._held = 0

    async def hold(self) -> None:
        """Wait a second, unless too many do."""
        if self._held >= HELD_MAX:
            return
        self._held += 1
        try:
            await asyncio.sleep(HOLD_S)
        finally:
            self._held -= 1


def pushback(after_s: float | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata that says when to come again; nothing where nobody knows."""
    return () if after_s is None else ((PUSHBACK, str(math.ceil(after_s * 1000))),)
