"""Nothing lost, nothing twice: random faults on everything, and then the books are compared.

CHAOS_FAULTS says how many (60), CHAOS_SEED which.
"""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.chaos.cluster import pass_time
from tests.chaos.faults import Chaos
from tests.e2e.processes import say, until

if TYPE_CHECKING:
    from tests.chaos.cluster import Cluster

FAULTS = int(os.environ.get("CHAOS_FAULTS", "60"))
OUTAGE_S = 16.0  # more than the small spool holds
SETTLED_WITHIN_S = 45.0
MIB = 1024 * 1024


@pytest.mark.timeout(150 + 4 * FAULTS)
def test_whatever_is_killed_nothing_is_lost_or_doubled_and_every_gap_is_known(
    cluster: Cluster,
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: CHAOS_SEED={seed}")
    chaos = Chaos(cluster, random.Random(seed))
    pass_time(2, cluster)

    chaos.strike(FAULTS)
    force_a_gap(cluster)

    for agent in cluster.agents:  # what is left is delivered before they say goodbye
        until(
            lambda agent=agent: agent.process and agent.process.popen.poll() is None,
            within_s=5,
            what=f"{agent.name}, alive",
        )
    until(
        lambda: _behind(cluster) <= len(cluster.agents) * 4,
        within_s=SETTLED_WITHIN_S,
        what="the end of the backlog",
    )
    for agent in cluster.agents:
        agent.end(signal.SIGTERM)
    # What a stopped agent could not deliver any more waits in its spool: start it once again.
    for agent in cluster.agents:
        agent.start()
    until(
        lambda: not _before_the_last_start(cluster),
        within_s=SETTLED_WITHIN_S,
        what="all that was taken in the ledger",
    )
    for agent in cluster.agents:
        agent.end(signal.SIGTERM)

    say(f"faults: {dict(chaos.counts)}")
    say(f"peak memory: { {k: round(v / MIB) for k, v in cluster.peak_bytes.items()} } MiB")
    assert cluster.differences() == []
    assert sum(chaos.counts.values()) >= FAULTS * 0.9
    assert cluster.lost(cluster.agents[0]), "the small spool should have overflowed"
    assert not any(cluster.lost(agent) for agent in cluster.agents[1:])
    assert cluster.peak_bytes["gateway"] <= 300 * MIB
    assert cluster.peak_bytes["agent"] <= 80 * MIB


def force_a_gap(cluster: Cluster) -> None:
    """Keep all agents from all gateways for longer than the small spool holds."""
    for proxy in cluster.proxies:
        proxy.refuse()
    pass_time(OUTAGE_S, cluster)
    for proxy in cluster.proxies:
        proxy.heal()


def _behind(cluster: Cluster) -> int:
    cluster.watch_memory()
    return len(cluster.undelivered())


def _before_the_last_start(cluster: Cluster) -> list[str]:
    """Return what is not delivered of processes that have ended."""
    alive = {}
    for agent in cluster.agents:
        epochs = [epoch for epoch, _ in agent.batches()]
        alive[agent.name] = str(epochs[-1]) if epochs else ""
    return [each for each in cluster.undelivered() if alive[each.split()[0]] != each.split()[1]]
