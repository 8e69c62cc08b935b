"""Claims of many streams at once: collected for a moment, made in one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hostpulse import errors
from storage import claims

if TYPE_CHECKING:
    from storage.database import Pool

WAIT_S = 0.01  # for company
BATCH_MAX = 500
QUEUE_MAX = 20_000
CLAIM_TIMEOUT_S = 10.0

Answer = claims.Claimed | claims.Refused


class Claims:
    """Makes claims on a connection of its own.

    Args:
        pool: for claims only; its lock timeout is a second.
        gateway: the name that is stored as the owner's.
    """

    def __init__(self, pool: Pool, *, gateway: str) -> None:
        self._pool = pool
        self._gateway = gateway
        self._queue: asyncio.Queue[tuple[claims.Claim, asyncio.Future[Answer]]] = asyncio.Queue(
            QUEUE_MAX
        )

    async def claim(self, claim: claims.Claim) -> Answer:
        """Claim a server for a stream.

        Raises:
            Retryable: the database is away or too slow, or too many come at once.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((claim, answer))
            async with asyncio.timeout(CLAIM_TIMEOUT_S):
                return await answer
        except asyncio.QueueFull as error:
            raise errors.Retryable("too many agents connect at once", after_s=5.0) from error
        except TimeoutError as error:
            raise errors.Retryable("the database is too slow or away", after_s=1.0) from error
        finally:
            del answer  # an error that it holds has a traceback that would hold it

    async def run(self) -> None:
        """Make claims until cancelled."""
        while True:
            waiting = [await self._queue.get()]
            await asyncio.sleep(WAIT_S)
            while not self._queue.empty() and len(waiting) < BATCH_MAX:
                waiting.append(self._queue.get_nowait())
            # Of two streams for one name the later one wins; the earlier is asked to come again.
            latest = {claim.server_name: (claim, answer) for claim, answer in waiting}
            for claim, answer in waiting:
                if latest[claim.server_name][1] is not answer and not answer.done():
                    answer.set_exception(errors.Retryable("another stream opened just after"))
            await self._make([pair for pair in latest.values() if not pair[1].done()])

    async def _make(self, pairs: list[tuple[claims.Claim, asyncio.Future[Answer]]]) -> None:
        """Make claims in one transaction and answer each."""
        try:
            async with (
                asyncio.timeout(CLAIM_TIMEOUT_S),
                self._pool.acquire(timeout=CLAIM_TIMEOUT_S) as connection,
            ):
                answers = await claims.claim(
                    connection, [claim for claim, _ in pairs], gateway=self._gateway
                )
        except Exception as error:
            for _, answer in pairs:
                if not answer.done():
                    answer.set_exception(errors.Retryable(f"the claim failed: {error}"))
            return
        for (_, answer), result in zip(pairs, answers, strict=True):
            if not answer.done():
                answer.set_result(result)
