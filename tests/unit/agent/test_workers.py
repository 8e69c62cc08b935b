from __future__ import annotations

import asyncio
import threading

import pytest

from agent.workers import ORDINARY_THREADS, Workers


@pytest.fixture
def pool():
    made = Workers(name="test-worker")
    yield made
    made.stop()


@pytest.fixture
def gate():
    """Opened at the end of the test, so that no thread outlives it for long."""
    opened = threading.Event()
    yield opened
    opened.set()


def alive():
    return [each for each in threading.enumerate() if each.name == "test-worker"]


async def resolved(job):
    async with asyncio.timeout(5.0):
        return await job.outcome


async def started(job):
    """Wait until a thread has taken the job up: the call itself says so."""
    async with asyncio.timeout(5.0):
        assert await asyncio.to_thread(job.call.began.wait, 5.0)


class Gated:
    """A call that hangs until its gate opens."""

    def __init__(self, gate):
        self.began = threading.Event()
        self._gate = gate

    def __call__(self):
        self.began.set()
        self._gate.wait(30.0)
        return ()


async def test_a_call_is_made_in_a_daemon_thread_off_the_loop(pool):
    seen = []

    def call():
        seen.append(threading.current_thread())
        return ["sample"]

    outcome = await resolved(pool.submit(call))

    assert (outcome.samples, outcome.error) == (["sample"], None)
    assert seen[0].daemon
    assert seen[0] is not threading.main_thread()


async def test_an_error_is_an_outcome(pool):
    def fail():
        raise OSError("gone")

    outcome = await resolved(pool.submit(fail))

    assert str(outcome.error) == "gone"


async def test_many_calls_share_two_threads(pool):
    seen = set()

    def call():
        seen.add(threading.current_thread())
        return ()

    for job in [pool.submit(call) for _ in range(20)]:
        await resolved(job)

    assert len(seen) <= ORDINARY_THREADS


async def test_a_hanging_call_is_replaced_and_its_thread_ends_when_it_returns(pool, gate):
    hanging = [pool.submit(Gated(gate)) for _ in range(2)]
    for job in hanging:
        await started(job)

    assert [pool.abandon(job) for job in hanging] == [True, True]
    assert (await resolved(pool.submit(lambda: ["alive"]))).samples == ["alive"]

    gate.set()
    for job in hanging:
        await resolved(job)
        assert job.finished


async def test_a_call_that_never_began_is_not_made_after_it_was_given_up(pool, gate):
    for _ in range(ORDINARY_THREADS):
        await started(pool.submit(Gated(gate)))
    made = []
    waiting = pool.submit(lambda: made.append(1) or ())

    assert not pool.abandon(waiting)

    gate.set()
    await resolved(pool.submit(lambda: ()))
    await resolved(pool.submit(lambda: ()))
    assert made == []


async def test_giving_up_on_a_call_that_is_over_changes_nothing(pool):
    job = pool.submit(lambda: ())
    await resolved(job)

    assert not pool.abandon(job)
    assert (await resolved(pool.submit(lambda: ["still"]))).samples == ["still"]


async def test_idle_threads_end_when_the_pool_is_stopped():
    pool = Workers(name="test-worker-stopping")
    await resolved(pool.submit(lambda: ()))
    threads = [each for each in threading.enumerate() if each.name == "test-worker-stopping"]

    pool.stop()

    for thread in threads:
        thread.join(timeout=5.0)
        assert not thread.is_alive()
