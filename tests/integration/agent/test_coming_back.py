"""A gateway that restarts gets its fleet back spread out, and soon: a simulation of 10 000 agents.

Each runs the real loop and the real backoff on a clock of its own; only the conversation with the
gateway is played: refused until the gateway is back, and then an arrival.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import random

import pytest

from agent import batches
from agent.buffer import BufferBounds, MemoryBuffer
from agent.collectors import CollectorSettings
from agent.configuration import Configuration
from agent.counters import Counters
from agent.health import ClockOffset
from agent.identity import Identity
from agent.plan import Plan
from agent.settings import ApiKey
from agent.uplink import RECONNECT, Uplink, UplinkSettings
from hostpulse import backoff, errors
from hostpulse.clock import ManualClock
from hostpulse.v1 import telemetry_pb2 as pb
from tests.e2e.processes import say

FLEET = 10_000
CLOCK = ManualClock()
SETTINGS = UplinkSettings(
    gateways=["gateway:50051"], server_name="s", api_key=ApiKey("k"), tls=None
)
PLAN = Plan(intervals_s={}, collectors=CollectorSettings(), spool=BufferBounds())
PARTS = {
    "identity": Identity(machine_id="m", boot_id=bytes(16), host=pb.HostFacts()),
    "buffer": MemoryBuffer(),
    "configuration": Configuration(PLAN),
    "numbering": batches.Numbering(boot_id=bytes(16)),
    "counters": Counters(),
    "offset": ClockOffset(CLOCK),
    "clock": CLOCK,
}


class Returning(Uplink):
    """An agent whose gateway went away at 0 and is back at `back_s`."""

    def __init__(self, back_s: float, chance: random.Random) -> None:
        super().__init__(
            SETTINGS,
            **PARTS,
            pause=self.wait,
            delays=lambda policy: backoff.delays(policy, uniform=chance.uniform),
        )
        self.back_s = back_s
        self.now_s = 0.0
        self.attempts = 0

    async def wait(self, delay_s: float, stop: asyncio.Event) -> bool:
        self.now_s += delay_s
        return stop.is_set()

    async def _converse(self, gateway: str, stop: asyncio.Event) -> None:
        self.attempts += 1
        if self.now_s < self.back_s:
            raise errors.Retryable("connection refused")
        self.arrived_s = self.now_s
        stop.set()


@pytest.mark.parametrize(
    ("outage_s", "most_within_s", "share_of_a_second"),
    [
        pytest.param(2.0, 8.0, 0.6, id="a restart"),
        pytest.param(20.0, 28.0, 0.10, id="a slow restart"),
        pytest.param(600.0, 29.0, 0.08, id="an outage"),
    ],
)
async def test_a_fleet_comes_back_spread_out_and_soon(
    outage_s, most_within_s, share_of_a_second, caplog
):
    caplog.set_level("CRITICAL")
    chance = random.Random(4)
    fleet = [Returning(outage_s, chance) for _ in range(FLEET)]
    for agent in fleet:
        await agent.run(asyncio.Event())

    late_s = sorted(agent.arrived_s - outage_s for agent in fleet)
    most = max(collections.Counter(int(each) for each in late_s).values())
    most_in_a_tenth = max(collections.Counter(int(10 * each) for each in late_s).values())
    attempts = sum(agent.attempts for agent in fleet) / FLEET
    say(
        f"outage of {outage_s:g} s: at most {most} in a second, {most_in_a_tenth} in a tenth; 95 % "
        f"within {late_s[FLEET * 95 // 100]:.1f} s, the last after {late_s[-1]:.1f} s; "
        f"{attempts:.1f} attempts an agent"
    )
    assert late_s[FLEET * 95 // 100] <= most_within_s
    assert late_s[-1] <= RECONNECT.maximum_s
    assert most <= share_of_a_second * FLEET
    assert most_in_a_tenth <= 0.2 * share_of_a_second * FLEET


def test_agents_that_knock_for_long_knock_twice_a_minute_on_average():
    waits = backoff.delays(RECONNECT, uniform=random.Random(1).uniform)
    late = list(itertools.islice(waits, 10, 2010))

    assert 14 < sum(late) / len(late) < 16
    assert max(late) <= RECONNECT.maximum_s
