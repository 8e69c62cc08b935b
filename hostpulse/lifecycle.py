"""How a hostpulse process starts, runs and ends.

The contract that every long-lived object of hostpulse obeys:

- constructors only assign and validate;
- `async with thing:` opens and closes; close flushes and is safe without open;
- `run()` runs until its stop event is set or it is cancelled, and returns only then;
- `stop()` is synchronous, idempotent and safe before the start;
- nothing starts after close, and each step of a stop has a bound.

A process stops by event, not by cancelling: a signal sets the event once, everybody winds up
within a grace, what is left is cancelled, and what ignores that is left behind and reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import signal
from typing import TYPE_CHECKING

from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
    from types import FrameType

CANCEL_GRACE_S = 0.5  # for `finally` blocks of tasks that were cancelled

log = logging.getLogger(__name__)


class TaskEndedError(errors.HostpulseError):
    """A task that should run until the stop ended before it."""


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Generator[None]:
    """Set `stop` at the first SIGINT or SIGTERM; the second one ends the process at once.

    Call it in the main thread, inside the running loop. The first signal gives both signals back
    to the system, so the second needs no cooperation of Python and the parent sees the true cause.
    """
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        # A handler runs between any two bytecodes: wake the loop and do the rest there.
        loop.call_soon_threadsafe(begin, signal.Signals(number).name)

    def begin(name: str) -> None:
        log.info("stop_requested", extra={"signal": name})
        stop.set()

    previous = {each: signal.signal(each, on_signal) for each in signals}
    try:
        yield
    finally:
        for each, handler in previous.items():
            if signal.getsignal(each) is on_signal:
                signal.signal(each, handler)


@contextlib.asynccontextmanager
async def until_signalled(*, end_within_s: float) -> AsyncGenerator[asyncio.Event]:
    """Yield the event that a signal sets; so long after it the process ends, whatever hangs.

    Call it in the main thread, by `__main__` only.
    """
    stop = asyncio.Event()

    async def watch() -> None:
        await stop.wait()
        end_within(end_within_s)

    with stop_on_signals(stop):
        watchdog = asyncio.create_task(watch(), name="watchdog")
        try:
            yield stop
        finally:
            watchdog.cancel()


def end_within(seconds: float) -> None:
    """End this process with status 1 and all tracebacks on stderr unless it ends by itself sooner.

    The watchdog is a thread of the interpreter that needs no lock of it: it also ends a process
    whose threads hang in the kernel. To be called once the stop has begun, by `__main__` only.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)


async def run_until_stopped(
    parts: Mapping[str, Coroutine[object, object, None]], stop: asyncio.Event, *, grace_s: float
) -> None:
    """Run named parts until `stop` is set; then give them `grace_s` to end, and cancel the rest.

    A part that ends or raises before the stop sets it, and its error is raised when the others
    have ended: a process never lives on with a part missing.

    Raises:
        TaskEndedError: A part returned before the stop.
        BaseExceptionGroup: More than one part failed; a single failure is raised as it is.
    """
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    stopper = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([*tasks, stopper], return_when=asyncio.FIRST_COMPLETED)
        early = [] if stop.is_set() else [task for task in tasks if task.done()]
        stop.set()
        await _wind_up(tasks, grace_s=grace_s)
    finally:
        stopper.cancel()
        for task in tasks:
            task.cancel()
    failures = [failure for task in tasks if (failure := _failure(task, early=task in early))]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup("several parts failed", failures)


async def _wind_up(tasks: list[asyncio.Task[None]], *, grace_s: float) -> None:
    """Wait for tasks to end, cancel those that do not, and report those that ignore it."""
    if not tasks:
        return
    _, slow = await asyncio.wait(tasks, timeout=grace_s)
    if not slow:
        return
    log.warning("stop_took_too_long", extra={"parts": ",".join(t.get_name() for t in slow)})
    for task in slow:
        task.cancel()
    _, deaf = await asyncio.wait(slow, timeout=CANCEL_GRACE_S)
    if deaf:
        log.error("cancellation_ignored", extra={"parts": ",".join(t.get_name() for t in deaf)})


def _failure(task: asyncio.Task[None], *, early: bool) -> BaseException | None:
    """Return why a task failed; None for one that ended when it should."""
    if not task.done() or task.cancelled():
        return TaskEndedError(f"{task.get_name()} was cancelled from outside") if early else None
    if error := task.exception():
        return error
    return TaskEndedError(f"{task.get_name()} ended although nobody stopped it") if early else None
