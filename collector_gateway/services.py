"""What the gateway gives the HTTP API that it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from collector_gateway.auth import Authenticator
    from collector_gateway.denials import Denials
    from collector_gateway.limits import Limits
    from collector_gateway.live import Live
    from hostpulse.clock import Clock
    from storage import requests
    from storage.database import Pool

Rows = Mapping[str, Sequence[tuple[object, ...]]]
"""Table name to rows, each in the order of the catalog's `Table.columns`."""


class Store(Protocol):
    """Where samples go."""

    async def store(
        self, *, server_id: int, rows: Rows, taken: datetime, request: requests.Request
    ) -> bool:
        """Store all rows or none, and return when they are durable.

        Returns False where the same request was stored before: these rows were not.

        Raises:
            Retryable: not now.
            Permanent: the database refuses them for good.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the process can do its work, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts that the API works with; all outlive it.

    Attributes:
        denials: is told who was turned away; None in tests of other things.
        live: ends long answers, such as event streams, when their key ends; None as above.
        limits: how fast anybody may go; None as above.
    """

    query_pool: Pool
    authenticator: Authenticator
    store: Store
    readiness: Callable[[], Awaitable[Readiness]]
    registry: CollectorRegistry
    clock: Clock
    denials: Denials | None = None
    live: Live | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # long answers end then
    limits: Limits | None = None
