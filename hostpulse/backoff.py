"""How long to wait before the next attempt: exponential, full jitter, bounded, woken by a stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

SERVER_DELAY_MAX_S = 300.0  # a peer may ask for patience, not for silence

Pause = Callable[[float, asyncio.Event], Awaitable[bool]]
"""Wait so many seconds or until the event is set; True when it was the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """The bounds of the delays between attempts, in seconds.

    The nth delay lies between `minimum_s` and `initial_s * multiplier ** n`, never above
    `maximum_s`. Full jitter spreads a fleet that lost its gateway at one moment.
    """

    initial_s: float = 0.5
    maximum_s: float = 30.0
    multiplier: float = 2.0
    minimum_s: float = 0.05

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other."""
        if not 0 <= self.minimum_s <= self.initial_s <= self.maximum_s:
            raise ValueError(f"delays must rise from minimum to initial to maximum, got {self!r}")
        if self.multiplier < 1:
            raise ValueError(f"multiplier must be at least 1, got {self.multiplier!r}")


def delays(
    policy: BackoffPolicy, *, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Yield delays in seconds for ever; start a new iterator after a success."""
    ceiling = policy.initial_s
    while True:
        yield uniform(policy.minimum_s, ceiling)
        ceiling = min(policy.maximum_s, ceiling * policy.multiplier)


def honoured(delay_s: float, server_delay_s: float | None) -> float:
    """Add the jitter to what the server asked for, so that a drained fleet is no stampede."""
    if server_delay_s is None or not server_delay_s > 0:  # also NaN
        return delay_s
    return delay_s + min(server_delay_s, SERVER_DELAY_MAX_S)


async def pause(delay_s: float, stop: asyncio.Event) -> bool:
    """Wait `delay_s` seconds or until `stop` is set; True when it was the stop."""
    if stop.is_set():
        return True
    try:
        async with asyncio.timeout(max(0.0, delay_s)):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True


async def until_any(delay_s: float, *events: asyncio.Event) -> None:
    """Wait `delay_s` seconds or until one of the events is set."""
    waiting = [asyncio.create_task(each.wait(), name="until any") for each in events]
    try:
        await asyncio.wait(waiting, timeout=max(0.0, delay_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
