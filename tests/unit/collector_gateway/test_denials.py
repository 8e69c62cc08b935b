from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from collector_gateway import denials
from hostpulse import clock


class AuditTable:
    """A pool whose one table is audit; away while told so."""

    def __init__(self):
        self.rows = []
        self.is_away = False

    @asynccontextmanager
    async def acquire(self, *, timeout):
        if self.is_away:
            raise ConnectionRefusedError
        yield self

    async def execute(self, _sql, actor, action, subject, allowed, address, detail, count):
        assert not allowed
        self.rows.append((actor, action, subject, count))


@pytest.fixture
def table():
    return AuditTable()


@pytest.fixture
def time():
    return clock.ManualClock()


@pytest.fixture
def noted(table, time):
    return denials.Denials(table, clock=time)


def attempt(actor="key 1", subject="web-1", **detail):
    return denials.Denial(
        actor=actor, action="stream.open", subject=subject, address="10.0.0.9", detail=detail
    )


async def close_windows(noted):
    stop = asyncio.Event()
    stop.set()
    await noted.run(stop)


async def test_the_first_attempt_is_written_at_once_and_its_repeats_as_one_row(noted, table):
    for n in range(1000):
        await noted.note(attempt(reason=f"attempt {n}"))
    assert table.rows == [("key 1", "stream.open", "web-1", 1)]

    await close_windows(noted)

    assert table.rows[1:] == [("key 1", "stream.open", "web-1", 999)]


async def test_after_a_minute_the_first_is_written_again(noted, table, time, monkeypatch):
    monkeypatch.setattr(denials, "LOOK_INTERVAL_S", 0.001)
    await noted.note(attempt())
    stop = asyncio.Event()
    running = asyncio.create_task(noted.run(stop))
    time.advance(61)
    async with asyncio.timeout(5):
        while noted._windows:
            await asyncio.sleep(0.001)

    await noted.note(attempt())
    stop.set()
    await running

    assert [row[3] for row in table.rows] == [1, 1]


async def test_different_attempts_beyond_a_bound_are_only_counted(noted, table):
    for n in range(5 * denials.KINDS_MAX):
        await noted.note(attempt(subject=f"server-{n}"))
    assert len(table.rows) == denials.KINDS_MAX

    await close_windows(noted)

    assert table.rows[denials.KINDS_MAX :] == [("(many)", "many", None, 4 * denials.KINDS_MAX)]


async def test_without_the_database_an_attempt_is_denied_all_the_same(noted, table):
    table.is_away = True

    await noted.note(attempt())

    assert table.rows == []
