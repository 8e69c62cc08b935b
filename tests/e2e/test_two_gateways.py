"""Exactly once: two gateways on one database, killed at random under their agents."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fleet import (
    Gateway,
    create_keys,
    differences,
    is_committed,
    start_agent,
)
from tests.e2e.processes import POLL_S, say, until
from tests.e2e.system import query

if TYPE_CHECKING:
    from tests.e2e.fleet import Agent
    from tests.e2e.processes import Ground

AGENTS = 6
INTERVAL_S = 5.0
KILLS = 20
PAUSE_S = (0.2, 1.5)  # between two kills
DOWN_S = (0.2, 1.5)  # before the killed one is started again
# Every second kill waits for a tick and strikes between its COPY and its ack.
TICK_WITHIN_S = 4.0
AFTER_TICK_S = (0.04, 0.24)  # what a tick needs to its ack, with the slow disk
# A flush takes milliseconds here, and a kill would hardly ever strike within: so the ledger's
# statement takes a while, where death means that nothing is stored, and so does its commit, where
# death means that all is stored and nobody was told.
SLOW_DISK = (
    "CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM pg_sleep(0.06); RETURN NULL; END $$",
    "CREATE TRIGGER slow_statement AFTER UPDATE ON ingest_ledger"
    " FOR EACH ROW EXECUTE FUNCTION take_a_while()",
    "CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON ingest_ledger"
    " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_a_while()",
)
# Agents back off to at most 30 s; then everything must come through.
SETTLED_WITHIN_S = 45.0


@pytest.mark.timeout(180)
def test_agents_between_two_dying_gateways_lose_and_repeat_nothing(
    ground: Ground, database: str
) -> None:
    seed = int(os.environ.get("E2E_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: E2E_SEED={seed}")
    chance = random.Random(seed)
    for statement in SLOW_DISK:
        query(database, statement)
    names = [f"host-{number}" for number in range(AGENTS)]
    keys = create_keys(ground, database, names)
    gateways = [Gateway(ground, database, f"gateway-{number}") for number in range(2)]
    for gateway in gateways:
        gateway.start()
    for gateway in gateways:
        gateway.wait_until(200)
    agents: list[Agent] = []
    for name in names:  # a second apart, so that there is a tick to aim at every second
        agents.append(start_agent(ground, name, key=keys[name], gateways=gateways))
        pass_time(gateways, {}, INTERVAL_S / AGENTS)
    until(lambda: all(agent.entries() for agent in agents), within_s=20, what="first ticks")

    kill_at_random(database, gateways, agents, chance)

    for gateway in gateways:
        gateway.wait_until(200)
    before = {agent.name: len(agent.entries()) for agent in agents}
    until(
        lambda: (
            all(len(agent.entries()) > before[agent.name] for agent in agents)
            and is_committed(database, agents)
        ),
        within_s=SETTLED_WITHIN_S,
        what="all that was collected in the ledger",
    )
    for agent in agents:
        agent.process.popen.send_signal(signal.SIGTERM)
    for agent in agents:
        assert agent.process.popen.wait(timeout=8) == 0, agent.process.log
    for gateway in gateways:
        assert gateway.end(signal.SIGTERM) == 0

    assert is_committed(database, agents)
    assert differences(database, agents) == []
    assert query(database, "SELECT count(*) AS n FROM server")[0]["n"] == AGENTS


def kill_at_random(
    dsn: str, gateways: list[Gateway], agents: list[Agent], chance: random.Random
) -> None:
    """Kill gateways with SIGKILL and start each again a moment later."""
    restarts: dict[str, float] = {}
    aimed = 0
    for number in range(KILLS):
        pass_time(gateways, restarts, chance.uniform(*PAUSE_S))
        until(
            lambda: restart(gateways, restarts) or any(gateway.is_alive for gateway in gateways),
            within_s=5,
            what="a gateway to kill",
        )
        victim = chance.choice([gateway for gateway in gateways if gateway.is_alive])
        if number % 2:
            busy = wait_for_a_tick(dsn, gateways, agents, restarts)
            if busy is not None:
                victim = busy
                aimed += 1
                pass_time(gateways, restarts, chance.uniform(*AFTER_TICK_S))
        victim.end(signal.SIGKILL)
        restarts[victim.name] = time.monotonic() + chance.uniform(*DOWN_S)
    pass_time(gateways, restarts, DOWN_S[1])
    say(f"killed {KILLS} gateways, {aimed} of them just after a tick of an agent of theirs")


def wait_for_a_tick(
    dsn: str, gateways: list[Gateway], agents: list[Agent], restarts: dict[str, float]
) -> Gateway | None:
    """Wait until an agent with a stream ticks; return its gateway. None: all are backing off."""
    end = time.monotonic() + TICK_WITHIN_S
    while time.monotonic() < end:
        served = {gateway.name: agents_of(dsn, gateway, agents) for gateway in gateways}
        before = {agent.name: len(agent.entries()) for agent in agents}
        look_again = time.monotonic() + 1.0
        while time.monotonic() < look_again:
            pass_time(gateways, restarts, POLL_S)
            for gateway in gateways:
                ticked = any(len(a.entries()) > before[a.name] for a in served[gateway.name])
                if ticked and gateway.is_alive:
                    return gateway
    return None


def agents_of(dsn: str, gateway: Gateway, agents: list[Agent]) -> list[Agent]:
    """Return the agents whose stream a gateway has."""
    if gateway.process is None or not gateway.is_alive:
        return []
    rows = query(
        dsn,
        "SELECT name FROM server WHERE session_gateway LIKE '%:' || $1::text",
        str(gateway.process.pid),
    )
    names = {row["name"] for row in rows}
    return [agent for agent in agents if agent.name in names]


def pass_time(gateways: list[Gateway], restarts: dict[str, float], seconds: float) -> None:
    """Let time pass, and start again whoever is due."""
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        restart(gateways, restarts)
        time.sleep(min(POLL_S, left_s))
    restart(gateways, restarts)


def restart(gateways: list[Gateway], restarts: dict[str, float]) -> None:
    """Start the gateways whose time has come."""
    for gateway in gateways:
        if restarts.get(gateway.name, time.monotonic() + 1) <= time.monotonic():
            del restarts[gateway.name]
            gateway.start()
