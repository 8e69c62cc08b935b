"""An outage longer than an agent may be silent: one alert about ingest, none about the servers.

Real gateway, agents, alert worker and PostgreSQL. Each outage lasts longer than agent_offline
waits, so `make chaos` runs this, by its name, and the default suite does not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.e2e.database import Database
from tests.e2e.fleet import Gateway, create_keys, differences, is_committed, start_agent
from tests.e2e.processes import Ground, children_of, say, until
from tests.e2e.system import query

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NAMES = ("host-a", "host-b", "host-c")
OUTAGE_S = 75.0  # agent_offline waits for 60 s
STALL_WITHIN_S = 45.0  # the whole ingest is missed after 30 s
RECOVERED_WITHIN_S = 60.0

LOG = """
SELECT h.rule_name, h.labels ->> 'scope' AS scope, s.name AS server, h.change, h.to_state
FROM alert_history h LEFT JOIN server s ON s.id = h.server_id
WHERE h.rule_name = 'agent_offline' ORDER BY h.id
"""


@pytest.fixture
def ground() -> Generator[Ground]:
    ground = Ground()
    try:
        yield ground
    finally:
        ground.close()


def lock_ledger(postgres: Database) -> Callable[[], None]:
    """Have no flush come through, while everything else works; return what ends that."""
    end = threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(postgres.dsn)
        async with connection.transaction():
            await connection.execute("LOCK ingest_ledger IN EXCLUSIVE MODE")
            await asyncio.to_thread(end.wait, 2 * OUTAGE_S)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()

    def release() -> None:
        end.set()
        thread.join()

    return release


def freeze(postgres: Database) -> Callable[[], None]:
    """Stop every process of the database, as a hung disk or a paused machine does."""
    assert postgres.process is not None
    pids = [postgres.process.pid, *children_of(postgres.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def release() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    return release


def stop(postgres: Database) -> Callable[[], None]:
    """Shut the database down; return what starts it again."""
    postgres.stop(signal.SIGINT)
    return postgres.start


@pytest.mark.parametrize("begin", [lock_ledger, freeze, stop])
@pytest.mark.timeout(300)
def test_an_outage_of_ingest_is_one_alert_and_no_server_is_called_dead(
    ground: Ground, begin: Callable[[Database], Callable[[], None]]
) -> None:
    postgres = Database(ground)
    postgres.start()
    postgres.migrate()
    keys = create_keys(ground, postgres.dsn, list(NAMES))
    gateway = Gateway(ground, postgres.dsn, "gateway")
    gateway.start()
    gateway.wait_until(200)
    agents = [start_agent(ground, name, key=keys[name], gateways=[gateway]) for name in NAMES]
    worker = ground.start(
        "alerting",
        [sys.executable, "-m", "cli", "alerting"],
        ground.environment(
            HOSTPULSE_DATABASE_URL=postgres.dsn,
            HOSTPULSE_DATA_DIR=ground.folder / "alerting",
            HOSTPULSE_ALERT_INTERVAL_S="1",
        ),
    )
    until(lambda: is_committed(postgres.dsn, agents), within_s=20, what="the first ticks")
    time.sleep(12)  # two ticks of each: the fleet is known to be there

    begun_s = time.monotonic()
    end = begin(postgres)
    try:
        if begin is lock_ledger:
            until(
                lambda: [row["scope"] for row in query(postgres.dsn, LOG)] == ["ingest"],
                within_s=STALL_WITHIN_S,
                what="the alert about ingest",
            )
            say(f"the alert came after {time.monotonic() - begun_s:.0f} s")
        time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - begun_s)))
    finally:
        end()

    until(lambda: is_committed(postgres.dsn, agents), within_s=RECOVERED_WITHIN_S, what="the rest")
    until(
        lambda: all(
            row["state"] not in ("firing", "pending", "no_data")
            for row in query(postgres.dsn, "SELECT state FROM alert_current")
        ),
        within_s=RECOVERED_WITHIN_S,
        what="the end of all alerts",
    )
    time.sleep(5)  # some cycles more, in which a late alert would come
    rows = [(row["scope"], row["server"], row["change"]) for row in query(postgres.dsn, LOG)]
    say(f"{begin.__name__}: {rows}")
    assert [row for row in rows if row[1] is not None] == []
    fired = [("ingest", None, "fired"), ("ingest", None, "resolved")]
    assert rows == fired if begin is lock_ledger else rows in ([], fired)

    for each in agents:
        each.process.end(signal.SIGTERM)
    assert is_committed(postgres.dsn, agents)
    assert differences(postgres.dsn, agents) == []
    assert worker.end(signal.SIGTERM) == 0
    assert gateway.end(signal.SIGTERM) == 0
    postgres.stop(signal.SIGINT)
