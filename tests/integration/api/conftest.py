from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import prometheus_client
import pytest

from api import app
from collector_gateway import auth, services
from hostpulse import clock
from storage import catalog, database, keys, requests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass
class CopyingStore:
    """Copies rows into the tables, or raises what it is told to."""

    pool: database.Pool
    error: Exception | None = None
    calls: int = 0

    async def store(self, *, server_id, rows, taken, request) -> bool:
        self.calls += 1
        if self.error:
            raise self.error
        async with self.pool.acquire(timeout=5) as connection, connection.transaction():
            if await requests.record(connection, [(server_id, request)]):
                return False
            for name, records in rows.items():
                assert all(record[1] == server_id for record in records)
                await connection.copy_records_to_table(
                    name, records=records, columns=catalog.TABLES[name].columns
                )
        return True


@dataclass
class Readiness:
    reasons: list[str] = field(default_factory=list)

    async def __call__(self) -> services.Readiness:
        return services.Readiness(ready=not self.reasons, reasons=tuple(self.reasons))


@dataclass
class Api:
    """The application with its parts, and a client that has an admin's key."""

    client: httpx.AsyncClient
    services: services.Services
    store: CopyingStore
    readiness: Readiness
    clock: clock.ManualClock
    admin_key: str

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.wall_ns() / 1e9, UTC)


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[object]:
    from storage.database import open_pool

    async with open_pool(database, "test", max_size=4, statement_timeout_s=5) as opened:
        yield opened


@pytest.fixture
async def api(pool, connection) -> AsyncGenerator[Api]:
    """Serve the API from a real database, in this process, at today's time."""
    admin_key = await keys.create(connection, role=keys.Role.ADMIN, created_by="test")
    time = clock.ManualClock(wall_ns=int(datetime.now(UTC).timestamp()) * clock.NS_PER_S)
    store = CopyingStore(pool)
    readiness = Readiness()
    given = services.Services(
        query_pool=pool,
        authenticator=auth.Authenticator(pool, clock=time),
        store=store,
        readiness=readiness,
        registry=prometheus_client.CollectorRegistry(),
        clock=time,
    )
    transport = httpx.ASGITransport(app.create(given), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {admin_key}"},
    ) as client:
        yield Api(
            client=client,
            services=given,
            store=store,
            readiness=readiness,
            clock=time,
            admin_key=admin_key,
        )


@pytest.fixture
async def alert_id(connection) -> int:
    server_id = await connection.fetchval(
        "INSERT INTO server (name, watch_offline) VALUES ('web', true) RETURNING id"
    )
    return await connection.fetchval(
        "INSERT INTO alert (rule_id, server_id, state, severity, value, fired_at, firing_number)"
        " SELECT id, $1, 'firing', 'warning', 91, now(), 1 FROM alert_rule"
        " WHERE name = 'cpu_usage' RETURNING id",
        server_id,
    )
