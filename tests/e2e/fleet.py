"""Gateways and agents as processes of their own, on a database of the test's."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from storage import catalog
from tests.e2e.processes import free_port, say, until
from tests.e2e.system import get, query

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from tests.e2e.processes import Ground, Running

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SERVES_WITHIN_S = 20.0


@dataclass
class Gateway:
    """A gateway at fixed addresses, which can be killed and started again."""

    ground: Ground
    dsn: str
    name: str
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: Running | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.popen.poll() is None

    def start(self, **variables: str) -> Running:
        """Start it, with more variables, and do not wait."""
        self.process = self.ground.start(
            self.name,
            [sys.executable, "-m", "cli", "gateway"],
            self.ground.environment(
                HOSTPULSE_DATABASE_URL=self.dsn,
                HOSTPULSE_GRPC_LISTEN=self.address,
                HOSTPULSE_HTTP_LISTEN=f"127.0.0.1:{self.http_port}",
                HOSTPULSE_DATA_DIR=self.ground.folder / self.name,
                **variables,
            ),
        )
        return self.process

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        return self.process.end(number)

    def readiness(self) -> tuple[int, str]:
        """Return the status of /readyz (0 without an answer) and what it says."""
        status, document = get(f"http://127.0.0.1:{self.http_port}/readyz")
        return status, str(document)

    def wait_until(self, status: int, *, within_s: float = SERVES_WITHIN_S) -> str:
        """Wait until /readyz answers with a status; return what it says."""
        until(
            lambda: self.readiness()[0] == status,
            within_s=within_s,
            what=f"/readyz of {self.name} = {status}",
        )
        return self.readiness()[1]


@dataclass
class Agent:
    """An agent with a name and a journal of all that it collected."""

    ground: Ground
    name: str
    process: Running

    @property
    def journal(self) -> Path:
        return self.ground.folder / f"{self.name}.journal"

    def entries(self) -> list[dict[str, object]]:
        """Return the whole lines of the journal."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def start_agent(ground: Ground, name: str, *, key: str, gateways: list[Gateway]) -> Agent:
    """Start an agent that knows all these gateways and collects every 5 seconds."""
    process = ground.start(
        name,
        [sys.executable, "-m", "agent"],
        ground.environment(
            HOSTPULSE_GATEWAY=",".join(gateway.address for gateway in gateways),
            HOSTPULSE_SERVER_NAME=name,
            HOSTPULSE_API_KEY=key,
            HOSTPULSE_INTERVAL_S="5",
            HOSTPULSE_DATA_DIR=ground.folder / f"{name}.data",
            HOSTPULSE_TEST_JOURNAL=ground.folder / f"{name}.journal",
        ),
    )
    return Agent(ground, name, process)


def create_keys(ground: Ground, dsn: str, names: list[str]) -> dict[str, str]:
    """Make a key for each agent, as an operator does; all commands at once."""
    environment = ground.environment(HOSTPULSE_DATABASE_URL=dsn)
    command = [sys.executable, "-m", "cli", "key", "create", "--json", "--role", "agent"]
    commands = {
        name: ground.start(f"key-{name}", [*command, "--server", name], environment)
        for name in names
    }
    keys: dict[str, str] = {}
    for name, running in commands.items():
        assert running.popen.wait(timeout=20) == 0, running.log
        keys[name] = json.loads(running.log)["key"]
    return keys


def is_committed(dsn: str, agents: list[Agent]) -> bool:
    """Whether the ledger has the last batch of every journal."""
    rows = query(
        dsn,
        "SELECT name, epoch, max(upper(range)) - 1 AS seq, count(range) AS ranges"
        " FROM server JOIN ingest_ledger ON server_id = id, unnest(committed) AS range"
        " GROUP BY name, epoch",
    )
    stored = {(row["name"], row["epoch"]): (row["seq"], row["ranges"]) for row in rows}
    return all(
        stored.get((agent.name, entries[-1]["epoch"])) == (entries[-1]["seq"], 1)
        for agent in agents
        if (entries := agent.entries())
    )


def differences(dsn: str, agents: list[Agent]) -> list[str]:
    """Compare journals and tables: every sample of every tick must be there, and once.

    Empty where they agree. What was compared is said, so that nothing can agree with nothing.
    """
    found: list[str] = []
    totals: Counter[str] = Counter()
    for agent in agents:
        collected = _collected(agent)
        for table in catalog.TABLES.values():
            series = ", ".join(("time", *table.series))
            rows = query(
                dsn,
                f"SELECT time, count(*) AS n, count(DISTINCT ({series})) AS series"
                f" FROM {table.name}"
                " WHERE server_id = (SELECT id FROM server WHERE name = $1) GROUP BY time",
                agent.name,
            )
            expected = collected.get(table.name, Counter())
            stored = Counter({row["time"]: row["n"] for row in rows})
            totals[table.name] += sum(stored.values())
            found += [
                f"{agent.name} {table.name} {row['time']}: {row['n']} rows, {row['series']} series"
                for row in rows
                if row["n"] != row["series"]
            ]
            found += [
                f"{agent.name} {table.name} {time}: {stored[time]} stored, {expected[time]} taken"
                for time in sorted(expected.keys() | stored.keys())
                if stored[time] != expected[time]
            ]
    gaps = query(dsn, "SELECT count(*) AS n FROM ingest_gap")[0]["n"]
    parked = query(dsn, "SELECT count(*) AS n FROM dead_letter")[0]["n"]
    ticks = sum(len({each["time_unix_ns"] for each in agent.entries()}) for agent in agents)
    say(f"compared: {len(agents)} agents, {ticks} ticks, rows {dict(totals)}, gaps {gaps}")
    if gaps or parked:
        found.append(f"{gaps} gaps, {parked} dead letters")
    return found


def _collected(agent: Agent) -> dict[str, Counter[datetime]]:
    """Return how many samples the journal has by family and moment."""
    collected: dict[str, Counter[datetime]] = {}
    for entry in agent.entries():
        time_unix_ns, samples = entry["time_unix_ns"], entry["samples"]
        assert isinstance(time_unix_ns, int)
        assert isinstance(samples, dict)
        at = EPOCH + timedelta(microseconds=time_unix_ns // 1000)
        for family, count in samples.items():
            collected.setdefault(family, Counter())[at] += count
    return collected
