from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from collector_gateway import lanes
from collector_gateway.lanes import Lanes, Submission, hour_of
from storage import ledger

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def submission(hour=None, *, size=100):
    return Submission(
        server_id=1,
        taken=None,
        rows=dict,
        settle=lambda _outcome, _detail: None,
        raw=bytes(size),
        touch=ledger.Touch(server_id=1),
        hour=hour,
    )


def taken(queue):
    """What the next two transactions hold, without the empty ones."""
    return [work for work in (queue.take_live(), queue.take_backlog()) if work]


async def filled(*hours):
    queue = Lanes()
    for hour in hours:
        await queue.put(submission(hour))
    return queue


@pytest.mark.parametrize(
    ("age", "is_backlog", "expected"),
    [
        pytest.param(timedelta(seconds=5), False, None, id="fresh"),
        pytest.param(timedelta(seconds=-60), False, None, id="ahead"),
        pytest.param(timedelta(seconds=5), True, 12, id="fresh, sent as backlog"),
        pytest.param(timedelta(minutes=31), False, 11, id="old, sent as fresh"),
        pytest.param(timedelta(hours=3), True, 9, id="old"),
    ],
)
def test_the_lane_of_a_sample_is_its_hour_unless_it_is_fresh(age, is_backlog, expected):
    midnight = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) // 3600

    hour = hour_of(NOW - age, NOW, is_backlog=is_backlog)

    assert hour == (None if expected is None else midnight + expected)


async def test_no_two_lanes_and_no_two_hours_share_a_flush():
    queue = await filled(None, 8, 9, None, 8)

    rounds = []
    while len(queue):
        rounds.append([[each.hour for each in work] for work in taken(queue)])

    assert rounds == [[[None, None], [8, 8]], [[9]]]


async def test_a_long_hour_does_not_starve_the_others():
    queue = await filled(*[8] * (lanes.BACKLOG_FLUSH_BATCHES + 1), 9)

    hours = [work[0].hour for _ in range(3) for work in taken(queue)]

    assert hours == [8, 9, 8]


async def test_a_full_backlog_leaves_room_for_what_is_fresh():
    queue = await filled(*[8] * lanes.BACKLOG_MAX_BATCHES)
    waiting = asyncio.create_task(queue.put(submission(8)))
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await queue.put(submission())

    assert not waiting.done()
    assert [len(work) for work in taken(queue)] == [1, lanes.BACKLOG_FLUSH_BATCHES]
    async with asyncio.timeout(10):
        await waiting


async def test_the_lanes_are_bounded_in_bytes():
    queue = Lanes()
    await queue.put(submission(size=lanes.LIVE_MAX_BYTES))
    waiting = asyncio.create_task(queue.put(submission()))
    await asyncio.sleep(0)
    assert not waiting.done()

    assert [len(work) for work in taken(queue)] == [1]
    async with asyncio.timeout(10):
        await waiting
