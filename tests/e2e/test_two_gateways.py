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

AGENTS = 5
INTERVAL_S = 5.0
KILLS = 20
PAUSE_S = (0.3, 2.5)  # between two kills
DOWN_S = (0.2, 1.5)  # before the killed one is started again
AIMED = 0.6  # of the kills wait for a tick: between its COPY and its ack is where it hurts most
AFTER_TICK_S = 0.15  # what a tick needs to its ack, about
# Agents back off to at most 30 s; then everything must come through.
SETTLED_WITHIN_S = 45.0


@pytest.mark.timeout(180)
def test_agents_between_two_dying_gateways_lose_and_repeat_nothing(
    ground: Ground, database: str
) -> None:
    seed = int(os.environ.get("E2E_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: E2E_SEED={seed}")
    chance = random.Random(seed)
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

    kill_at_random(gateways, agents, chance)

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


def kill_at_random(gateways: list[Gateway], agents: list[Agent], chance: random.Random) -> None:
    """Kill gateways with SIGKILL and start each again a moment later."""
    restarts: dict[str, float] = {}
    aimed = 0
    for _ in range(KILLS):
        pass_time(gateways, restarts, chance.uniform(*PAUSE_S))
        if chance.random() < AIMED:
            ticked = sum(len(agent.entries()) for agent in agents)
            until(
                lambda ticked=ticked: (
                    restart(gateways, restarts)
                    or sum(len(agent.entries()) for agent in agents) > ticked
                ),
                within_s=15,
                what="a tick",
            )
            pass_time(gateways, restarts, chance.uniform(0, AFTER_TICK_S))
            aimed += 1
        until(
            lambda: restart(gateways, restarts) or any(gateway.is_alive for gateway in gateways),
            within_s=5,
            what="a gateway to kill",
        )
        victim = chance.choice([gateway for gateway in gateways if gateway.is_alive])
        victim.end(signal.SIGKILL)
        restarts[victim.name] = time.monotonic() + chance.uniform(*DOWN_S)
    pass_time(gateways, restarts, DOWN_S[1])
    say(f"killed {KILLS} gateways, {aimed} of them just after a tick")


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
