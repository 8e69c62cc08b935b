"""Everything that chaos strikes: a PostgreSQL, two gateways behind proxies, and agents."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from agent.spool_buffer import SpoolBuffer
from migrations import run
from storage import database, keys, maintenance
from storage.embedded import EmbeddedPostgres
from tests.chaos.proxy import Proxy
from tests.e2e.fleet import Gateway
from tests.e2e.processes import CHECKOUT, free_port, say, until
from tests.e2e.system import query

if TYPE_CHECKING:
    from tests.e2e.processes import Ground, Running

TABLES = ("cpu", "network", "process", "agent_health")
SINCE_1970 = datetime(1970, 1, 1, tzinfo=UTC)
SMALL_SPOOL_BYTES = 60 * 1024  # some forty batches: ten seconds


@dataclass
class Agent:
    """An agent that is killed and started again under one name, with one spool and journal."""

    ground: Ground
    name: str
    environment: dict[str, str]
    process: Running | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.quick_agent"]
        self.process = self.ground.start(self.name, command, self.environment)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.end(number)

    def spooled(self) -> set[tuple[int, int]]:
        """Return what waits in the spool of an agent that has ended."""
        buffer = SpoolBuffer(self.ground.folder / f"{self.name}.data", boot_id=bytes(16))
        try:
            return {(b.batch.epoch, b.batch.seq) for b in buffer.page(after=0, limit=100_000)}
        finally:
            buffer.close()

    def batches(self) -> dict[tuple[int, int], tuple[datetime, dict[str, int]]]:
        """Return time and samples of all that its spools ever committed, by (epoch, seq)."""
        journal = self.ground.folder / f"{self.name}.journal"
        found = {}
        for line in journal.read_text().splitlines():
            with suppress(json.JSONDecodeError):  # the last line of one that was killed
                entry = json.loads(line)
                at = SINCE_1970 + timedelta(microseconds=entry["time_unix_ns"] // 1000)
                found[entry["epoch"], entry["seq"]] = (at, entry["samples"])
        return found


class Postgres:
    """A PostgreSQL of its own that can be killed; durable as shipped."""

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres(
            folder / "db", port=free_port(), settings={"logging_collector": "off"}
        )
        self.server.prepare()
        self._log = (folder / "postgres.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.wait()
        self.dsn = self.server.url
        asyncio.run(database.create_if_missing(self.dsn))
        run.upgrade(self.dsn)

    def start(self) -> None:
        # Its predecessor's children may still hold the shared memory: then it ends at once.
        self.process = subprocess.Popen(
            self.server.command(), stderr=self._log, **self.server.process_options()
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def wait(self) -> None:
        """Return once it answers; starts it again where it could not start yet."""

        def answers() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                self.start()
            return asyncio.run(_answers(self.server.url))

        until(answers, within_s=30, what="an answer of PostgreSQL")

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)
        self._log.close()


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(f"{dsn.rpartition('/')[0]}/postgres", timeout=2)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close(timeout=2)
    return True


@dataclass
class Cluster:
    """All of it; `close` ends it."""

    ground: Ground
    agents_count: int = 4
    postgres: Postgres = field(init=False)
    gateways: list[Gateway] = field(init=False)
    proxies: list[Proxy] = field(init=False)
    agents: list[Agent] = field(default_factory=list)
    peak_bytes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.postgres = Postgres(self.ground.folder)
        key = asyncio.run(_prepare(self.postgres.dsn))
        names = [f"gateway-{number}" for number in range(2)]
        self.gateways = [Gateway(self.ground, self.postgres.dsn, name) for name in names]
        self.proxies = [Proxy(free_port(), gateway.grpc_port) for gateway in self.gateways]
        for gateway, proxy in zip(self.gateways, self.proxies, strict=True):
            gateway.start()
            proxy.start()
        for gateway in self.gateways:
            gateway.wait_until(200)
        addresses = [f"127.0.0.1:{proxy.port}" for proxy in self.proxies]
        for number in range(self.agents_count):
            name = f"host-{number}"
            self.agents.append(
                Agent(
                    self.ground,
                    name,
                    self.ground.environment(
                        HOSTPULSE_GATEWAY=",".join(
                            addresses[number % 2 :] + addresses[: number % 2]
                        ),
                        HOSTPULSE_SERVER_NAME=name,
                        HOSTPULSE_API_KEY=key,
                        HOSTPULSE_DATA_DIR=self.ground.folder / f"{name}.data",
                        HOSTPULSE_TEST_JOURNAL=self.ground.folder / f"{name}.journal",
                        PYTHONPATH=CHECKOUT,
                        # The first one has a spool that an outage of some seconds fills.
                        **({} if number else {"CHAOS_SPOOL_BYTES": str(SMALL_SPOOL_BYTES)}),
                    ),
                )
            )
        for agent in self.agents:
            agent.start()

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.stop()
        self.postgres.close()

    def watch_memory(self) -> None:
        """Keep the most that each kind of process ever took."""
        pids = [("agent", agent.pid) for agent in self.agents]
        pids += [("gateway", g.process.pid) for g in self.gateways if g.process is not None]
        for kind, pid in pids:
            with suppress(OSError, IndexError):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                self.peak_bytes[kind] = max(self.peak_bytes[kind], pages * 4096)

    def undelivered(self) -> list[str]:
        """Return what the journals have and the ledger has not."""
        rows = query(
            self.postgres.dsn,
            "SELECT name, epoch, committed FROM server JOIN ingest_ledger ON server_id = id",
        )
        committed = {(row["name"], row["epoch"]): row["committed"] for row in rows}
        return [
            f"{agent.name} {epoch} {seq}"
            for agent in self.agents
            for epoch, seq in agent.batches()
            if not any(
                part.lower <= seq < part.upper for part in committed.get((agent.name, epoch), ())
            )
        ]

    def differences(self) -> list[str]:
        """Compare journals, rows and reported gaps: each batch is stored once, or a known gap."""
        found: list[str] = []
        for agent in self.agents:
            found += [f"{agent.name} {each}" for each in self._differences_of(agent)]
        return found

    def _differences_of(self, agent: Agent) -> list[str]:
        dsn, batches = self.postgres.dsn, agent.batches()
        lost, spooled = self.lost(agent), agent.spooled()
        stored: dict[datetime, Counter[str]] = {}
        for table in TABLES:
            for row in query(
                dsn,
                f"SELECT time, count(*) AS n FROM {table}"
                " WHERE server_id = (SELECT id FROM server WHERE name = $1) GROUP BY time",
                agent.name,
            ):
                stored.setdefault(row["time"], Counter())[table] = row["n"]
        found = [
            f"{key} of {at}: {dict(stored.get(at, {}))} stored, {samples} taken"
            f"{', lost' * (key in lost)}"
            for key, (at, samples) in batches.items()
            if dict(stored.get(at, {})) != ({} if key in lost else samples)
            and not (at not in stored and key in spooled)
        ]
        taken = {at for at, _ in batches.values()}
        last = Counter[int]()
        for epoch, seq in batches:
            last[epoch] = max(last[epoch], seq)
        # Killed between the spool and the journal: one batch of an epoch at most has no line.
        unwritten = [at for at in stored if at not in taken]
        found += [f"{at}: {stored[at]} stored, never taken" for at in unwritten[len(last) :]]
        found += [
            f"{at}: {stored[at]} stored twice"
            for at in unwritten
            if stored[at]["cpu"] > 1 or stored[at]["network"] > 3
        ]
        found += [
            f"{epoch} {seq}: reported as lost, never taken"
            for epoch, seq in lost
            if not 1 <= seq <= last[epoch] + 1
        ]
        say(
            f"{agent.name}: {len(last)} processes, {len(batches)} batches taken, "
            f"{len(stored)} ticks stored, {len(lost)} batches reported as lost, "
            f"{len(spooled)} still spooled, "
            f"{len(unwritten)} without a line in the journal"
        )
        return found

    def lost(self, agent: Agent) -> set[tuple[int, int]]:
        """Return the numbers that are reported as lost."""
        rows = query(
            self.postgres.dsn,
            "SELECT epoch, first_seq, last_seq FROM ingest_loss JOIN server ON id = server_id"
            " WHERE name = $1 AND state = 'lost'",
            agent.name,
        )
        return {
            (row["epoch"], seq)
            for row in rows
            for seq in range(row["first_seq"], row["last_seq"] + 1)
        }


async def _prepare(dsn: str) -> str:
    """Make partitions and a key."""
    connection = await database.connect(dsn, "chaos")
    await maintenance.maintain(connection)
    key = await keys.create(
        connection, role=keys.Role.ADMIN, server_names=[], note=None, created_by="chaos"
    )
    await connection.close()
    return key


def pass_time(seconds: float, cluster: Cluster) -> None:
    """Wait, watching."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        cluster.watch_memory()
        time.sleep(min(0.1, left))
