from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from collector_gateway import logins
from collector_gateway.buckets import Limited, Rate
from collector_gateway.logins import Logins
from hostpulse.clock import ManualClock

ADDRESS = "10.0.0.9"
MANY = 50


class Gate:
    """A look-up that answers when it is told to, and counts who asks."""

    def __init__(self, made: Logins) -> None:
        self.logins = made
        self.opened = asyncio.Event()
        self.looking = 0
        self.most = 0

    async def log_in(self, address: str = ADDRESS, *, good: bool) -> str:
        try:
            async with self.logins.attempt(address) as attempt:
                self.looking += 1
                self.most = max(self.most, self.looking)
                await self.opened.wait()
                self.looking -= 1
                if not good:
                    attempt.fail()
        except Limited:
            return "limited"
        return "good" if good else "wrong"

    async def all_at_once(self, *, good: int = 0, wrong: int = 0) -> Counter[str]:
        tasks = [asyncio.create_task(self.log_in(good=False)) for _ in range(wrong)]
        tasks += [asyncio.create_task(self.log_in(good=True)) for _ in range(good)]
        for _ in range(3):
            await asyncio.sleep(0)
        self.opened.set()
        return Counter(await asyncio.gather(*tasks))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def gate(clock, monkeypatch):
    monkeypatch.setattr(logins, "FAILED_LOGINS", Rate(per_s=1.0, burst=5))
    return Gate(Logins(clock=clock))


async def test_failed_logins_shut_an_address_out_for_a_while(gate, clock):
    gate.opened.set()
    for _ in range(5):
        assert await gate.log_in(good=False) == "wrong"

    with pytest.raises(Limited, match="failed logins") as refused:
        async with gate.logins.attempt(ADDRESS):
            pass
    assert await gate.log_in("10.0.0.8", good=False) == "wrong"
    clock.advance(refused.value.after_s)
    assert await gate.log_in(good=True) == "good"


async def test_wrong_ones_that_come_at_once_do_not_all_pass(gate):
    assert await gate.all_at_once(wrong=MANY) == {"wrong": 5, "limited": MANY - 5}
    assert gate.most == 5


async def test_a_fleet_behind_one_address_passes_a_few_at_a_time(gate):
    assert await gate.all_at_once(good=MANY) == {"good": MANY}
    assert gate.most == 5


async def test_good_ones_pass_beside_a_few_wrong_ones(gate):
    assert await gate.all_at_once(wrong=4, good=MANY) == {"wrong": 4, "good": MANY}


async def test_a_login_that_could_not_be_looked_at_has_not_failed(gate):
    for _ in range(2 * 5):
        with pytest.raises(ConnectionError):
            async with gate.logins.attempt(ADDRESS):
                raise ConnectionError


async def test_nobody_waits_for_ever_for_a_turn(gate, monkeypatch):
    monkeypatch.setattr(logins, "TURN_WITHIN_S", 0.05)
    held = [asyncio.create_task(gate.log_in(good=True)) for _ in range(5)]
    await asyncio.sleep(0)

    assert await gate.log_in(good=True) == "limited"

    gate.opened.set()
    assert await asyncio.gather(*held) == ["good"] * 5


async def test_one_who_goes_away_while_it_waits_leaves_its_turn_to_the_next(gate):
    tasks = [asyncio.create_task(gate.log_in(good=True)) for _ in range(8)]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[5].cancel()
    gate.opened.set()
    tasks[6].cancel()

    found = await asyncio.gather(*tasks, return_exceptions=True)

    assert Counter(str(each) for each in found)["good"] == 6
    assert await gate.all_at_once(good=1) == {"good": 1}
    assert not gate.logins._doors
