"""Threads that can be left behind: a call that hangs in the kernel stops neither ticks nor exit.

    submit(call) ─▶ queue ─▶ at most two ordinary threads ─▶ Outcome, in the event loop
                                └─ abandoned: the thread is left behind, a new one takes its place

Threads of `concurrent.futures` are joined when the interpreter exits; these are daemons.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

ORDINARY_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call: samples or an error, and how long it took."""

    samples: Sequence[Message] = ()
    error: Exception | None = None
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One call that has been submitted.

    Attributes:
        outcome: Resolves in the event loop; also for an abandoned job, if its call ever returns.
        started: Whether a thread has taken it up.
    """

    call: Callable[[], Sequence[Message]]
    outcome: asyncio.Future[Outcome]
    started: bool = False
    finished: bool = False
    abandoned: bool = field(default=False)


class Workers:
    """A few daemon threads that make blocking calls for one event loop.

    There are never more than ORDINARY_THREADS plus one for each abandoned call that still hangs:
    whoever submits bounds those by not submitting again what hangs.
    """

    def __init__(self, *, name: str = "collect") -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ordinary = 0  # threads that are not left behind
        self._jobs_ahead = 0  # submitted and neither finished nor given up

    def submit(self, call: Callable[[], Sequence[Message]]) -> Job:
        """Have a thread make the call; to be used inside the running loop."""
        job = Job(call=call, outcome=asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        with self._lock:
            self._jobs_ahead += 1
            missing = min(self._jobs_ahead, ORDINARY_THREADS) - self._ordinary
            self._ordinary += max(0, missing)
        for _ in range(missing):
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return job

    def abandon(self, job: Job) -> bool:
        """Give up on a job; True when a thread hangs in it, False when it never began or is over.

        A job that no thread has taken up is never made.
        """
        with self._lock:
            if job.finished or job.abandoned:
                return False
            job.abandoned = True
            self._jobs_ahead -= 1
            if job.started:
                self._ordinary -= 1  # the next submit starts another one
            return job.started

    def stop(self) -> None:
        """Let idle threads end; one that hangs is left to the end of the process."""
        for _ in range(self._ordinary):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            with self._lock:
                job.started = not job.abandoned
            if not job.started:
                continue
            outcome = _make(job.call)
            with self._lock:
                job.finished = True
                replaced = job.abandoned
                self._jobs_ahead -= not replaced
            _deliver(job, outcome)
            if replaced:
                return


def _make(call: Callable[[], Sequence[Message]]) -> Outcome:
    begun = time.perf_counter()
    try:
        samples = call()
    except Exception as error:
        return Outcome(error=error, seconds=time.perf_counter() - begun)
    return Outcome(samples=samples, seconds=time.perf_counter() - begun)


def _deliver(job: Job, outcome: Outcome) -> None:
    def resolve() -> None:
        if not job.outcome.done():
            job.outcome.set_result(outcome)

    try:
        job.outcome.get_loop().call_soon_threadsafe(resolve)
    except RuntimeError:
        return  # the loop is closed: the process is exiting and nobody waits
