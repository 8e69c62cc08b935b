from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import prometheus_client
import pytest

from api import app
from collector_gateway import auth, services
from hostpulse import clock, errors
from storage import keys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class UntouchedPool:
    """What is refused must be refused before the database is asked: any use fails the test."""

    def acquire(self, *, timeout: float) -> object:
        raise AssertionError("the database was asked")


@dataclass
class UntouchedStore:
    """Nothing of a refused body is stored."""

    async def store(self, *, server_id, rows, taken, request) -> bool:
        raise AssertionError("something was stored")


class NamedKeys:
    """Knows keys by the name of their role; `away` is the database."""

    async def authenticate(self, key: str | None, *, address: str = "") -> auth.Principal:
        if key == "away":
            raise errors.Retryable("the API key can't be checked: the database is away")
        if key not in set(keys.Role):
            raise auth.Unauthenticated("expected an API key, got none")
        role = keys.Role(key)
        names = frozenset({"web-1"}) if role in keys.BOUND_ROLES else frozenset[str]()
        return auth.Principal(key_id=1, prefix="00000000", role=role, server_names=names)


@dataclass
class Unready:
    """A readiness that is what the test says."""

    reasons: list[str] = field(default_factory=list)
    error: BaseException | None = None

    async def __call__(self) -> services.Readiness:
        if self.error:
            raise self.error
        return services.Readiness(ready=not self.reasons, reasons=tuple(self.reasons))


@dataclass
class Door:
    """The application with nothing behind it, and a client with an admin's key."""

    client: httpx.AsyncClient
    readiness: Unready
    registry: prometheus_client.CollectorRegistry
    now: datetime


@pytest.fixture
async def door() -> AsyncGenerator[Door]:
    time = clock.ManualClock()
    readiness = Unready()
    registry = prometheus_client.CollectorRegistry()
    given = services.Services(
        query_pool=UntouchedPool(),
        authenticator=NamedKeys(),
        store=UntouchedStore(),
        readiness=readiness,
        registry=registry,
        clock=time,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.create(given), raise_app_exceptions=False),
        base_url="http://gateway",
        headers={"Authorization": "Bearer admin"},
    ) as client:
        yield Door(
            client=client,
            readiness=readiness,
            registry=registry,
            now=datetime.fromtimestamp(time.wall_ns() / 1e9, UTC),
        )
