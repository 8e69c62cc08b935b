"""One `hostpulse up` with a data directory and ports of its own, seen from outside."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import asyncpg

from tests.e2e.processes import CHECKOUT, children_of, free_port, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.processes import Ground, Running

READY = "hostpulse is ready"
READY_WITHIN_S = 120  # a machine may be busy; what is promised is checked where it is promised
SERVER = "e2e-server"
CHILDREN = {  # what tells the children's command lines apart
    "postgres": "bin/postgres -D",
    "gateway": "-m cli gateway",
    "alerting": "-m cli alerting",
    "agent": "-m agent",
}


def get(url: str, key: str | None = None) -> tuple[int, Any]:
    """Ask for a URL; return status and document. 0 stands for no answer at all."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=8
        ) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError as error:
        return 0, str(error)


def query(dsn: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one query on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn, timeout=5, command_timeout=10)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close(timeout=5)

    return asyncio.run(run())


@dataclass
class System:
    """What a person sees of one `hostpulse up`.

    Attributes:
        settings: environment variables beside the addresses.
        command: what runs `hostpulse`.
        options: for `subprocess`, such as the user.
        data_dir: None leaves the choice to hostpulse, and says so in `expected_data_dir`.
    """

    ground: Ground
    settings: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    checkout: Path = CHECKOUT
    options: dict[str, object] = field(default_factory=dict)
    data_dir: Path = Path()
    data_dir_is_default: bool = False
    db_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    up: Running | None = None

    def __post_init__(self) -> None:
        if self.data_dir == Path():
            self.data_dir = self.ground.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of `up`, which commands can use, too."""
        addresses: dict[str, str | Path] = {
            "HOSTPULSE_DB_PORT": str(self.db_port),
            "HOSTPULSE_GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "HOSTPULSE_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "HOSTPULSE_SERVER_NAME": SERVER,
        }
        if not self.data_dir_is_default:
            addresses["HOSTPULSE_DATA_DIR"] = self.data_dir
        return self.ground.environment(**(addresses | self.settings))

    @property
    def dsn(self) -> str:
        return (self.data_dir / "database.url").read_text().strip()

    @property
    def admin_key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()

    def launch(self) -> Running:
        """Start it and do not wait."""
        self.up = self.ground.start(
            "up",
            [self.python, "-m", "cli", "up"],
            self.environment,
            cwd=self.checkout,
            **self.options,
        )
        return self.up

    def start(self, *, within_s: float = READY_WITHIN_S) -> float:
        """Start it, wait until it is ready, return how many seconds that took."""
        begun = time.monotonic()
        self.launch().wait_for(READY, within_s=within_s)
        return time.monotonic() - begun

    def stop(self) -> tuple[int, float]:
        """Send SIGINT to the supervisor alone; return its status and how long it took."""
        assert self.up is not None
        begun = time.monotonic()
        status = self.up.end(signal.SIGINT, within_s=15)
        return status, time.monotonic() - begun

    def children(self) -> dict[str, int]:
        """Return the pids of the supervisor's children by name."""
        assert self.up is not None
        return {
            name: pid
            for pid, command in children_of(self.up.pid).items()
            for name, part in CHILDREN.items()
            if part in command
        }

    def hostpulse(self, *arguments: str) -> Running:
        """Run a command to its end."""
        running = self.ground.start(
            "-".join(arguments[:2]),
            [self.python, "-m", "cli", *arguments],
            self.environment,
            cwd=self.checkout,
            **self.options,
        )
        running.popen.wait(timeout=20)
        return running

    def url(self, path: str, **parameters: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}?{urlencode(parameters)}"

    def points(self, metric: str, *, since: timedelta = timedelta(hours=1)) -> list[Any]:
        """Return the points of a metric of this machine, by HTTP, as a person would ask."""
        now = datetime.now(UTC)
        status, document = get(
            self.url(
                "/api/v1/metrics",
                server_id=SERVER,
                metric=metric,
                **{"from": (now - since).isoformat(), "to": (now + timedelta(1)).isoformat()},
            ),
            self.admin_key,
        )
        if status == 404:
            return []  # its agent has not said Hello yet
        assert status == 200, document
        return [point for series in document["series"] for point in series["points"]]

    def count(self, tables: Sequence[str]) -> dict[str, int]:
        """Return how many rows each table holds."""
        parts = [f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in tables]
        return {row["name"]: row["n"] for row in query(self.dsn, " UNION ALL ".join(parts))}

    def newest(self) -> datetime | None:
        """Return the time of the newest CPU sample; None where there is none, or no database."""
        try:
            return query(self.dsn, "SELECT max(time) AS at FROM cpu")[0]["at"]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None

    def wait_for_fresh_data(self, *, within_s: float) -> None:
        """Wait for a sample that was taken after now."""
        begun = datetime.now(UTC)

        def look() -> bool:
            newest = self.newest()
            return newest is not None and newest > begun

        until(look, within_s=within_s, what="a new sample")
