"""A database with a watched server, samples at will, and rules to edit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiosmtpd.controller import Controller

from alerting import cycle
from storage import database as storage_database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from email.message import EmailMessage

    from alerting.cycle import Report
    from storage.database import Connection, Pool


@dataclass
class House:
    """What the tests arrange; times are relative to the database's now."""

    connection: Connection
    dsn: str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    server_id: int = 0

    async def add_server(
        self, name: str = "web", *, interval_s: float | None = None, offset_ms: float = 0
    ) -> int:
        server_id = await self.connection.fetchval(
            "INSERT INTO server"
            " (name, watch_offline, status, last_seen, clock_offset_ms, machine_id)"
            " VALUES ($1, true, 'online', now(), $2, $3) RETURNING id",
            name,
            offset_ms,
            f"machine of {name}",
        )
        if interval_s is not None:
            for family in ("cpu", "disk_usage", "memory", "disk_io"):
                await self.connection.execute(
                    "INSERT INTO family_interval (server_id, family, interval_s)"
                    " VALUES ($1, $2, $3)",
                    server_id,
                    family,
                    interval_s,
                )
        return server_id

    async def add_cpu(self, server_id: int, samples: list[tuple[float, float | None]]) -> None:
        """Store `(seconds ago, usage percent)`."""
        await self.connection.executemany(
            "INSERT INTO cpu (time, server_id, usage_percent)"
            " VALUES (now() - make_interval(secs => $1), $2, $3)",
            [(ago, server_id, value) for ago, value in samples],
        )

    async def only(self, *names: str) -> None:
        """Disable all other rules."""
        await self.connection.execute(
            "UPDATE alert_rule SET enabled = name = ANY($1::text[])", list(names)
        )

    async def set_rule(self, name: str, **columns: object) -> None:
        for column, value in columns.items():
            await self.connection.execute(
                f"UPDATE alert_rule SET {column} = $2 WHERE name = $1", name, value
            )

    async def listen_since(self, ago: timedelta = timedelta(hours=1)) -> None:
        """Pretend that a worker has listened for a while: the grace after an outage is over."""
        heard = self.now - ago
        await self.connection.execute(
            "INSERT INTO setting (key, value) VALUES ('alerting.last_cycle', $1)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            {
                "time": datetime.now(UTC).isoformat(),
                "heard_since": heard.isoformat(),
                "stalled": False,
            },
        )

    async def cycle(self) -> Report:
        long_ago = self.now - timedelta(days=1)  # the tests' PostgreSQL has only just started
        report = await cycle.run(self.connection, database_started_at=long_ago)
        assert report is not None
        return report

    async def alerts(self) -> list[tuple[str, str | None, str, str | None]]:
        """Return (rule, server, state, severity) of all alerts."""
        rows = await self.connection.fetch(
            "SELECT r.name AS rule, s.name AS server, a.state, a.severity FROM alert a"
            " JOIN alert_rule r ON r.id = a.rule_id LEFT JOIN server s ON s.id = a.server_id"
            " ORDER BY 1, 2"
        )
        return [tuple(row) for row in rows]

    async def changes(self) -> list[str]:
        rows = await self.connection.fetch("SELECT change FROM alert_history ORDER BY id")
        return [row["change"] for row in rows]

    async def notifications(self) -> list[tuple[str, str]]:
        rows = await self.connection.fetch("SELECT kind, state FROM notification ORDER BY id")
        return [tuple(row) for row in rows]


@pytest.fixture
async def house(database: str, connection: Connection) -> House:
    return House(connection=connection, dsn=database)


@pytest.fixture
async def pool(database: str) -> AsyncGenerator[Pool]:
    async with storage_database.open_pool(
        database, "test", max_size=4, statement_timeout_s=10
    ) as opened:
        yield opened


class MailServer:
    """A real SMTP server on a port of its own; `answers` are given to DATA, in order."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.answers: list[str] = []
        self.arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._controller: Controller | None = None

    async def handle_DATA(self, server, session, envelope) -> str:
        import email
        from email import policy

        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("250"):
            self.messages.append(email.message_from_bytes(envelope.content, policy=policy.default))
            self._loop.call_soon_threadsafe(self.arrived.set)
        return answer

    def start(self, port: int) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()

    @property
    def url(self) -> str:
        assert self._controller is not None
        return f"smtp://127.0.0.1:{self._controller.port}?from=hostpulse@example.org"


@pytest.fixture
async def mail_server() -> AsyncGenerator[MailServer]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = MailServer()
    server.start(port)
    yield server
    server.stop()
