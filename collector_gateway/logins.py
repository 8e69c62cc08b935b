"""Logins with a credential that is not known here: how many of an address may fail.

A login counts against its address from its start, and no more once it has not failed: else any
number of guesses that arrive together would pass before the first of them is known to be wrong. So
of an address at most as many are under way as may still fail; the others wait for their turn, as a
fleet behind one address does when a gateway has just started.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector_gateway.addresses import network_of
from collector_gateway.buckets import Buckets, Limited, Rate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hostpulse.clock import Clock

FAILED_LOGINS = Rate(per_s=1.0, burst=60)  # of an address; beyond, only keys known here are taken
TURN_WITHIN_S = 5.0  # an agent waits 10 s for its Welcome


@dataclass(slots=True)
class Attempt:
    """A login that is under way."""

    is_failed: bool = False

    def fail(self) -> None:
        """Count it against its address."""
        self.is_failed = True


@dataclass(slots=True)
class _Door:
    """The logins of an address: how many there are, how many are under way, and who waits."""

    present: int = 0
    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])

    def next(self) -> None:
        """Let one who waits look again."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Logins:
    """The failed logins of each address.

    Args:
        clock: its monotonic side.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._failed = Buckets(FAILED_LOGINS, clock=clock)
        self._doors: dict[str, _Door] = {}

    @asynccontextmanager
    async def attempt(self, address: str) -> AsyncGenerator[Attempt]:
        """Let an address try a credential that is not known here, within the block.

        Raises:
            Limited: it has failed too often, or its turn does not come.
        """
        network = network_of(address)
        door = self._doors.setdefault(network, _Door())
        attempt = Attempt()
        door.present += 1
        try:
            await self._enter(network, door)
            try:
                yield attempt
            finally:
                door.under_way -= 1
                if attempt.is_failed:
                    self._failed.charge(network, 1.0)
        finally:
            door.present -= 1
            door.next()
            if not door.present:
                del self._doors[network]

    async def _enter(self, network: str, door: _Door) -> None:
        """Wait until one more may fail."""
        while (after_s := self._failed.peek(network, door.under_way + 1)) > 0:
            if not door.under_way:
                raise Limited("too many failed logins of this address", after_s=after_s)
            turn = asyncio.get_running_loop().create_future()
            door.waiting.append(turn)
            try:
                async with asyncio.timeout(TURN_WITHIN_S):
                    await turn
            except TimeoutError as error:
                detail = "too many logins of this address at once"
                raise Limited(detail, after_s=TURN_WITHIN_S) from error
        door.under_way += 1
        door.next()  # there may be room for more than one
