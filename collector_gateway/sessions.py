"""The streams of this gateway: one a server, and the newest one wins."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import grpc

from collector_gateway.intake import SUPERSEDED

if TYPE_CHECKING:
    from uuid import UUID

    from collector_gateway.session import Session


class Sessions:
    """The streams of this gateway, one a server."""

    def __init__(self) -> None:
        self._by_server: dict[int, Session] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_server)

    def live(self) -> list[Session]:
        """Return them all."""
        return list(self._by_server.values())

    def token_of(self, server_id: int) -> UUID | None:
        """Return the fencing token of the live stream of a server, if it is ours."""
        session = self._by_server.get(server_id)
        return session.token if session else None

    def add(self, session: Session) -> None:
        """Let a stream in; an older one of the same server ends."""
        older = self._by_server.get(session.server_id)
        self._by_server[session.server_id] = session
        self._empty.clear()
        if older is not None:
            older.end(grpc.StatusCode.ABORTED, SUPERSEDED)

    def remove(self, session: Session) -> None:
        """Forget a stream that ended, unless a newer one has its place."""
        if self._by_server.get(session.server_id) is session:
            del self._by_server[session.server_id]
        if not self._by_server:
            self._empty.set()

    async def drain(self, *, spread_s: float, grace_s: float) -> None:
        """Ask all agents to go elsewhere one by one, and wait for them within a grace."""
        for session in self._by_server.values():
            session.drain(random.uniform(0.0, spread_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
