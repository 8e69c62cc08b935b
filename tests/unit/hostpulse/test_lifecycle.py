from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from hostpulse import lifecycle

SECOND_SIGNAL = """
import asyncio, os, signal
from hostpulse import lifecycle
async def main():
    stop = asyncio.Event()
    with lifecycle.stop_on_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
asyncio.run(main())
"""
HANGING_END = """
import threading
from hostpulse import lifecycle
lifecycle.end_within(0.1)
threading.Event().wait()
"""


async def until(stop):
    await stop.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_sets_the_stop_and_gives_both_back_to_the_system(number):
    stop, signals = asyncio.Event(), (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.getsignal(each) for each in signals}

    try:
        with lifecycle.stop_on_signals(stop):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(1.0):
                await stop.wait()
        handlers = {signal.getsignal(each) for each in signals}
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

    assert handlers == {signal.SIG_DFL}


async def test_handlers_are_put_back_without_a_signal():
    before = signal.getsignal(signal.SIGTERM)

    with lifecycle.stop_on_signals(asyncio.Event()):
        assert signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_ends_the_process_by_that_signal():
    ended = subprocess.run([sys.executable, "-c", SECOND_SIGNAL], timeout=10, check=False)

    assert ended.returncode == -signal.SIGTERM


def test_a_process_that_hangs_is_ended_with_its_tracebacks():
    ended = subprocess.run(
        [sys.executable, "-c", HANGING_END], timeout=10, check=False, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert "most recent call first" in ended.stderr


async def test_parts_end_when_the_stop_is_set():
    stop = asyncio.Event()
    stop.set()

    async with asyncio.timeout(1.0):
        await lifecycle.run_until_stopped(
            {"one": until(stop), "two": until(stop)}, stop, grace_s=1.0
        )


async def test_a_part_that_raises_stops_the_others_and_its_error_is_raised():
    stop = asyncio.Event()
    ended = []

    async def fail():
        raise LookupError("broken")

    async def other():
        await stop.wait()
        ended.append("other")

    with pytest.raises(LookupError, match="broken"):
        await lifecycle.run_until_stopped({"fail": fail(), "other": other()}, stop, grace_s=1.0)

    assert ended == ["other"]


async def test_a_part_that_returns_before_the_stop_is_an_error():
    async def done():
        return

    stop = asyncio.Event()

    with pytest.raises(lifecycle.TaskEndedError, match="early ended although nobody stopped it"):
        await lifecycle.run_until_stopped(
            {"early": done(), "other": until(stop)}, stop, grace_s=1.0
        )


async def test_several_failures_are_raised_together():
    stop = asyncio.Event()

    async def fail(kind):
        raise kind

    with pytest.raises(BaseExceptionGroup) as raised:
        await lifecycle.run_until_stopped(
            {"one": fail(LookupError()), "two": fail(OSError())}, stop, grace_s=1.0
        )

    assert {type(each) for each in raised.value.exceptions} == {LookupError, OSError}


async def test_a_part_that_does_not_end_in_time_is_cancelled(caplog):
    stop = asyncio.Event()
    stop.set()
    cleaned = []

    async def slow():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async with asyncio.timeout(1.0):
        await lifecycle.run_until_stopped({"slow": slow()}, stop, grace_s=0.01)

    assert cleaned == [True]
    assert "stop_took_too_long" in caplog.messages


async def test_a_part_that_ignores_cancellation_is_left_behind_and_reported(caplog, monkeypatch):
    monkeypatch.setattr(lifecycle, "CANCEL_GRACE_S", 0.01)
    stop, release = asyncio.Event(), asyncio.Event()
    stop.set()

    async def deaf():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(1.0):
        await lifecycle.run_until_stopped({"deaf": deaf()}, stop, grace_s=0.01)

    assert "cancellation_ignored" in caplog.messages
    release.set()
    await asyncio.sleep(0)
