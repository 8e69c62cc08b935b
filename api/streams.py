"""Server-sent events: what changes, for as long as somebody reads and may read.

A stream is one message deep: while a browser does not read, changes add up into its next message
instead of queueing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from api import answers, failures
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from starlette.types import Message, Receive, Scope, Send

TICK_S = 2.0
HEARTBEAT_S = 15.0
STALLED_S = 20.0  # a reader that takes nothing for so long is dropped
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """An answer that goes on, and is broken off when its reader stalls."""

    def __init__(self, content: AsyncGenerator[bytes]) -> None:
        super().__init__(content, media_type="text/event-stream", headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes."""

        async def bounded(message: Message) -> None:
            async with asyncio.timeout(STALLED_S):
                await send(message)

        with contextlib.suppress(TimeoutError, ClientDisconnect):
            await super().__call__(scope, receive, bounded)


async def follow(
    look: Callable[[], Awaitable[Mapping[str, object]]],
    recheck: Callable[[], Awaitable[object]],
    stopping: asyncio.Event,
    *,
    name: str,
    tick_s: float = TICK_S,
) -> AsyncGenerator[bytes]:
    """Write events until the reader may not read any more, or the process stops.

    While the database is away there are heartbeats only.

    Args:
        look: returns what is new since it was last called; empty where nothing is.
        recheck: raises Permanent where the reader's key or session has ended.
        stopping: set when the process stops.
        name: of the events.
        tick_s: seconds between two looks.
    """
    yield b"retry: 3000\n\n"
    silent_s = 0.0
    while not stopping.is_set():
        with contextlib.suppress(errors.Retryable):
            try:
                await recheck()
            except errors.Permanent:
                return
        message: Mapping[str, object] = {}
        with contextlib.suppress(errors.Retryable, *failures.UNAVAILABLE):
            message = await look()
        if message:
            yield f"event: {name}\ndata: ".encode() + answers.encode(message) + b"\n\n"
            silent_s = 0.0
        elif silent_s >= HEARTBEAT_S:
            yield b": still here\n\n"
            silent_s = 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(tick_s):
                await stopping.wait()
        silent_s += tick_s
