"""The worker through outages of its database, with everything faked."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from alerting import worker
from hostpulse import backoff


class Work:
    """Raises what it was told, in order, then returns."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)


async def no_pause(delay_s: float, stop: asyncio.Event) -> bool:
    return stop.is_set()


async def test_an_outage_is_waited_for_and_said_once():
    work = Work(*(OSError("refused") for _ in range(5)))

    with capture_logs() as logs:
        await worker.through_outages("cycles", work, asyncio.Event(), pause=no_pause)

    assert work.calls == 6
    assert [entry["event"] for entry in logs] == ["database_lost"]


async def test_another_reason_is_said_too():
    work = Work(
        OSError("refused"),
        asyncpg.CannotConnectNowError("starting"),
        TimeoutError(),
        asyncpg.InternalClientError("cannot switch to state 12"),
    )

    with capture_logs() as logs:
        await worker.through_outages("cycles", work, asyncio.Event(), pause=no_pause)

    assert [entry["error"].partition(":")[0] for entry in logs] == [
        "OSError",
        "CannotConnectNowError",
        "TimeoutError",
        "InternalClientError",
    ]


async def test_a_defect_is_no_outage():
    with pytest.raises(ZeroDivisionError):
        await worker.through_outages("cycles", Work(ZeroDivisionError()), asyncio.Event())


async def test_a_stop_ends_the_waiting():
    stop = asyncio.Event()

    async def pause_and_stop(delay_s: float, event: asyncio.Event) -> bool:
        event.set()
        return True

    work = Work(*(OSError("refused") for _ in range(5)))
    await worker.through_outages("cycles", work, stop, pause=pause_and_stop)

    assert work.calls == 1


async def test_delays_stay_within_their_bounds():
    delays: list[float] = []

    async def note(delay_s: float, stop: asyncio.Event) -> bool:
        delays.append(delay_s)
        return False

    work = Work(*(OSError("refused") for _ in range(30)))
    retry = backoff.BackoffPolicy(initial_s=0.5, maximum_s=4)
    await worker.through_outages("cycles", work, asyncio.Event(), retry=retry, pause=note)

    assert max(delays) <= 4
