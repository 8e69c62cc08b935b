"""Runs collectors when they are due, each within a deadline, and hands over ticks.

A collector that is overdue is left behind in its thread, not started again until it has come back,
and counted in `agent_health`; one that raises is missing in that tick. Neither stops the others.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from agent import batches, schedule, workers
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from agent.collectors import Collector
    from agent.health import Health
    from hostpulse.backoff import Pause
    from hostpulse.clock import Clock

COLLECT_DEADLINE_S = 5.0  # also the shortest interval, so a tick never waits past the next one

log = logging.getLogger(__name__)


class Runner:
    """The agent's heart: ticks on the monotonic clock, whatever the wall clock does.

    Args:
        collectors: What to run; at most one a family.
        intervals_s: Seconds between two readings of each family; FAMILY_AGENT_HEALTH included.
        health: Makes the agent's own sample.
        emit: Takes each tick that has samples; called in the event loop, must not block.
        clock: The times of a tick.
        pause: Waits until the next tick or the stop.
        deadline_s: How long a tick waits for its collectors.
    """

    def __init__(
        self,
        *,
        collectors: Sequence[Collector],
        intervals_s: Mapping[telemetry_pb2.Family, float],
        health: Health,
        emit: Callable[[batches.Tick], None],
        clock: Clock,
        pause: Pause,
        deadline_s: float = COLLECT_DEADLINE_S,
    ) -> None:
        self._collectors = {each.family: each for each in collectors}
        self._plan = schedule.Schedule(intervals_s, origin_ns=clock.monotonic_ns())
        self._stirred = asyncio.Event()
        self._health = health
        self._emit = emit
        self._clock = clock
        self._pause = pause
        self._deadline_s = deadline_s
        self._workers = workers.Workers()
        self._overdue: dict[telemetry_pb2.Family, workers.Job] = {}
        self._errors: dict[telemetry_pb2.Family, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Make ticks until the stop; a collector that hangs then is left behind at once."""
        stirrer = asyncio.create_task(self._stir_at(stop), name="runner-stir")
        try:
            while not stop.is_set():
                wait_s = (self._plan.next_ns() - self._clock.monotonic_ns()) / NS_PER_S
                if wait_s > 0 and await self._pause(wait_s, self._stirred):
                    self._stirred.clear()
                    continue
                if due := self._plan.take_due(self._clock.monotonic_ns()):
                    await self._tick(due, stop)
        finally:
            stirrer.cancel()
            self._workers.stop()

    def change(
        self, intervals_s: Mapping[telemetry_pb2.Family, float], collectors: Sequence[Collector]
    ) -> None:
        """Go on with other intervals, which say what is on, and with these collectors.

        A collector that was off begins anew: its last reading is no measure any more.
        """
        kept = {each.family for each in self._collectors.values() if self._plan.has(each.family)}
        self._collectors |= {each.family: each for each in collectors if each.family not in kept}
        self._plan = self._plan.changed(intervals_s, now_ns=self._clock.monotonic_ns())
        self._stirred.set()

    @property
    def collectors(self) -> Sequence[Collector]:
        """What is run, or would be if its family were on."""
        return tuple(self._collectors.values())

    async def _stir_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stirred.set()

    async def _tick(self, due: Sequence[telemetry_pb2.Family], stop: asyncio.Event) -> None:
        time_unix_ns, monotonic_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        samples = await self._collect(due, stop)
        if telemetry_pb2.FAMILY_AGENT_HEALTH in due:
            sample = self._health.sample(stuck=self._stuck())
            samples[telemetry_pb2.FAMILY_AGENT_HEALTH] = [sample]
        if any(samples.values()):
            self._emit(
                batches.Tick(time_unix_ns=time_unix_ns, monotonic_ns=monotonic_ns, samples=samples)
            )

    async def _collect(
        self, due: Sequence[telemetry_pb2.Family], stop: asyncio.Event
    ) -> dict[telemetry_pb2.Family, Sequence[Message]]:
        jobs = {
            family: self._workers.submit(self._collectors[family].collect)
            for family in due
            if family in self._collectors and not self._is_overdue(family)
        }
        await self._wait([job.outcome for job in jobs.values()], stop)
        samples: dict[telemetry_pb2.Family, Sequence[Message]] = {}
        for family, job in jobs.items():
            if job.outcome.done():
                samples[family] = self._taken(family, job.outcome.result())
            elif self._workers.abandon(job):
                self._overdue[family] = job
                log.warning("collector_stuck", extra={"family": _name(family)})
        return samples

    async def _wait(
        self, outcomes: Sequence[asyncio.Future[workers.Outcome]], stop: asyncio.Event
    ) -> None:
        """Wait until all are there, the deadline has passed, or the agent is to stop."""
        if not outcomes:
            return
        stopped = asyncio.create_task(stop.wait(), name="runner-stop")
        collected = asyncio.create_task(
            asyncio.wait(outcomes, timeout=self._deadline_s), name="runner-collect"
        )
        try:
            await asyncio.wait({stopped, collected}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            collected.cancel()

    def _taken(self, family: telemetry_pb2.Family, outcome: workers.Outcome) -> Sequence[Message]:
        """Account for what a collector did; the same failure again is not news."""
        self._health.collected(outcome.seconds)
        if outcome.error is None:
            if self._errors.pop(family, None) is not None:
                log.info("collector_recovered", extra={"family": _name(family)})
            return outcome.samples
        text = f"{type(outcome.error).__name__}: {outcome.error}"
        if self._errors.get(family) != text:
            self._errors[family] = text
            log.warning("collector_failed", extra={"family": _name(family), "error": text})
        return ()

    def _is_overdue(self, family: telemetry_pb2.Family) -> bool:
        """Whether a collector has not come back; one that has is welcome again."""
        job = self._overdue.get(family)
        if job is None:
            return False
        if not job.finished:
            return True
        del self._overdue[family]
        log.info("collector_returned", extra={"family": _name(family)})
        return False

    def _stuck(self) -> int:
        """Count collectors that have not come back, and what a collector says hangs inside it."""
        inside = sum(getattr(each, "stuck", 0) for each in self._collectors.values())
        return sum(not job.finished for job in self._overdue.values()) + inside


def _name(family: telemetry_pb2.Family) -> str:
    return telemetry_pb2.Family.Name(family).removeprefix("FAMILY_").lower()
