"""A database that is away, or that does not fit, and what gateways and agents make of it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from storage import database as storage_database
from storage import schema
from tests.e2e.database import Database
from tests.e2e.fleet import Gateway, create_keys, differences, is_committed, start_agent
from tests.e2e.processes import free_port, until
from tests.e2e.system import query

if TYPE_CHECKING:
    from storage.embedded import EmbeddedPostgres
    from tests.e2e.processes import Ground

FIT_WITHIN_S = 15.0


@pytest.mark.timeout(150)
def test_agents_keep_their_samples_while_the_database_is_away(ground: Ground) -> None:
    postgres = Database(ground)
    postgres.start()
    postgres.migrate()
    names = ["host-a", "host-b"]
    keys = create_keys(ground, postgres.dsn, names)
    first = Gateway(ground, postgres.dsn, "first")
    first.start()
    first.wait_until(200)
    agents = [start_agent(ground, name, key=keys[name], gateways=[first]) for name in names]

    def wait_for_ticks(more: int) -> None:
        before = {agent.name: len(agent.entries()) for agent in agents}
        until(
            lambda: all(len(a.entries()) >= before[a.name] + more for a in agents),
            within_s=10 + 6 * more,
            what=f"{more} more ticks",
        )

    wait_for_ticks(2)
    for stop_signal in (signal.SIGINT, signal.SIGQUIT):  # in order; at once, as in a crash
        postgres.stop(stop_signal)
        said = first.wait_until(503)
        assert "database" in said
        wait_for_ticks(2)
        if stop_signal is signal.SIGINT:
            late = Gateway(ground, postgres.dsn, "late")
            late.start()
            assert "database" in late.wait_until(503)
        postgres.start()
        first.wait_until(200)
        late.wait_until(200)
        wait_for_ticks(1)
        until(
            lambda: is_committed(postgres.dsn, agents), within_s=40, what="all ticks in the ledger"
        )
    until(lambda: online(postgres) == set(names), within_s=10, what="both online")

    for agent in agents:
        agent.process.popen.send_signal(signal.SIGTERM)
    for agent in agents:
        assert agent.process.popen.wait(timeout=8) == 0, agent.process.log
    for gateway in (first, late):
        assert gateway.end(signal.SIGTERM) == 0
    assert is_committed(postgres.dsn, agents)
    assert differences(postgres.dsn, agents) == []
    postgres.stop(signal.SIGINT)


def online(postgres: Database) -> set[str]:
    """Return the servers that are online."""
    rows = query(postgres.dsn, "SELECT name FROM server WHERE status = 'online'")
    return {row["name"] for row in rows}


PARTS = {"gateway": ["cli", "gateway"], "alerting": ["cli", "alerting"]}


@pytest.mark.parametrize("part", PARTS)
def test_a_database_without_migrations_is_refused_with_the_command_that_mends_it(
    ground: Ground, postgres: EmbeddedPostgres, part: str
) -> None:
    dsn = f"{postgres.url.rpartition('/')[0]}/empty_for_{part}"
    asyncio.run(storage_database.create_if_missing(dsn))

    status, log = run_part(ground, part, dsn)

    assert status == 2, log
    assert "hostpulse migrate" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("part", PARTS)
def test_a_database_that_asks_for_a_newer_version_is_refused_with_the_upgrade(
    ground: Ground, database: str, part: str
) -> None:
    query(
        database,
        "INSERT INTO hostpulse_meta (key, value) VALUES ('min_gateway_schema', to_jsonb($1::int))"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        schema.SCHEMA + 1,
    )

    status, log = run_part(ground, part, database)

    assert status == 2, log
    assert "pip install --upgrade" in log
    assert "Traceback" not in log


def run_part(ground: Ground, part: str, dsn: str) -> tuple[int, str]:
    """Start a part on a database that it must refuse; return its status and what it said."""
    begun = time.monotonic()
    running = ground.start(
        part,
        [sys.executable, "-m", *PARTS[part]],
        ground.environment(
            HOSTPULSE_DATABASE_URL=dsn,
            HOSTPULSE_GRPC_LISTEN=f"127.0.0.1:{free_port()}",
            HOSTPULSE_HTTP_LISTEN=f"127.0.0.1:{free_port()}",
            HOSTPULSE_DATA_DIR=ground.folder / "data",
        ),
    )
    status = running.popen.wait(timeout=FIT_WITHIN_S)
    assert time.monotonic() - begun < FIT_WITHIN_S
    return status, running.log
