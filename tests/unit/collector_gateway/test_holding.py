from __future__ import annotations

import asyncio
import time

import pytest

from collector_gateway import holding


@pytest.fixture
def held(monkeypatch):
    monkeypatch.setattr(holding, "HOLD_S", 0.2)
    monkeypatch.setattr(holding, "HELD_MAX", 2)
    return holding.Holding()


async def test_so_many_are_held_and_the_others_are_not(held):
    first = [asyncio.create_task(held.hold()) for _ in range(2)]
    await asyncio.sleep(0)
    begun = time.monotonic()
    await held.hold()
    assert time.monotonic() - begun < 0.1

    await asyncio.gather(*first)
    assert time.monotonic() - begun >= 0.15
    again = asyncio.create_task(held.hold())
    await asyncio.sleep(0.05)
    assert not again.done()
    again.cancel()


async def test_one_who_goes_away_makes_room(held):
    for _ in range(3):
        task = asyncio.create_task(held.hold())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    last = asyncio.create_task(held.hold())
    await asyncio.sleep(0.01)
    assert not last.done()
    await last


@pytest.mark.parametrize(
    ("after_s", "said"), [(None, ()), (0.0001, (("grpc-retry-pushback-ms", "1"),))]
)
def test_when_to_come_again_is_said_where_it_is_known(after_s, said):
    assert holding.pushback(after_s) == said
