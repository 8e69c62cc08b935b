from __future__ import annotations

import asyncio
import threading

import pytest

from agent.buffer import MemoryBuffer
from agent.counters import Counters
from agent.health import ClockOffset, Health
from agent.runner import Runner
from hostpulse.clock import NS_PER_S, ManualClock
from hostpulse.v1 import telemetry_pb2 as pb


class Load:
    family = pb.FAMILY_CPU

    def __init__(self):
        self.calls = 0

    def collect(self):
        self.calls += 1
        return [pb.CpuSample(load1=float(self.calls))]


class Failing:
    family = pb.FAMILY_MEMORY

    def __init__(self, *messages):
        self._messages = list(messages)

    def collect(self):
        message = self._messages.pop(0)
        if message is not None:
            raise OSError(message)
        return [pb.MemorySample(total_bytes=1)]


class Hanging:
    family = pb.FAMILY_DISK_USAGE

    def __init__(self):
        self.calls = 0
        self.began = threading.Event()
        self.gate = threading.Event()

    def collect(self):
        self.calls += 1
        self.began.set()
        self.gate.wait(30.0)
        return [pb.DiskUsageSample(mount="/")]


class Stuck:
    """Answers, but says that two of its mounts do not."""

    family = pb.FAMILY_DISK_USAGE
    stuck = 2

    def collect(self):
        return []


class Rig:
    """A runner on a manual clock that makes so many ticks and stops."""

    def __init__(self, *collectors, intervals_s=None, deadline_s=5.0, step_wall_s=0.0):
        self.clock = ManualClock()
        self.stop = asyncio.Event()
        self.ticks = []
        self.waits = []
        self._step_wall_s = step_wall_s
        buffer, counters = MemoryBuffer(), Counters()
        self.runner = Runner(
            collectors=collectors,
            intervals_s=intervals_s
            or {
                **{each.family: 10.0 for each in collectors},
                pb.FAMILY_AGENT_HEALTH: 10.0,
            },
            health=Health(
                clock=self.clock,
                buffer=buffer,
                counters=counters,
                offset=ClockOffset(self.clock),
            ),
            emit=self.ticks.append,
            clock=self.clock,
            pause=self._pause,
            deadline_s=deadline_s,
        )
        self._left = 0
        self.before_tick = {}

    async def _pause(self, seconds, stirred):
        self.waits.append(seconds)
        self._left -= 1
        if self._left <= 0:
            self.stop.set()
            return True
        if stirred.is_set():
            return True
        self.clock.advance(seconds)
        self.clock.step_wall(self._step_wall_s)
        if action := self.before_tick.get(len(self.waits)):
            await action()
        return False

    async def run(self, ticks):
        self._left = ticks
        async with asyncio.timeout(10.0):
            await self.runner.run(self.stop)
        return self.ticks


def health(tick):
    (sample,) = tick.samples[pb.FAMILY_AGENT_HEALTH]
    return sample


async def test_a_tick_holds_all_families_of_one_moment():
    rig = Rig(Load(), Failing(None, None))

    first, second = await rig.run(2)

    assert set(first.samples) == {pb.FAMILY_CPU, pb.FAMILY_MEMORY, pb.FAMILY_AGENT_HEALTH}
    assert second.monotonic_ns - first.monotonic_ns == 10 * NS_PER_S
    assert second.samples[pb.FAMILY_CPU] == [pb.CpuSample(load1=2.0)]


async def test_a_stepped_wall_clock_moves_the_time_of_ticks_and_not_their_rhythm():
    rig = Rig(Load(), step_wall_s=-3600.0)

    ticks = await rig.run(3)

    assert rig.waits == [10.0, 10.0, 10.0]
    assert ticks[1].time_unix_ns - ticks[0].time_unix_ns == (10 - 3600) * NS_PER_S


async def test_families_keep_their_own_intervals():
    rig = Rig(
        Load(),
        Failing(None, None),
        intervals_s={pb.FAMILY_CPU: 10.0, pb.FAMILY_MEMORY: 60.0},
    )

    ticks = await rig.run(7)

    assert [pb.FAMILY_MEMORY in each.samples for each in ticks] == [True, *[False] * 5, True]
    assert all(pb.FAMILY_AGENT_HEALTH not in each.samples for each in ticks)


async def test_a_collector_that_raises_is_missing_and_logged_when_its_message_changes(caplog):
    caplog.set_level("INFO")
    rig = Rig(Load(), Failing("no file", "no file", "no right", None))

    ticks = await rig.run(4)

    assert [bool(each.samples[pb.FAMILY_MEMORY]) for each in ticks] == [False, False, False, True]
    assert all(each.samples[pb.FAMILY_CPU] for each in ticks)
    failures = [each.error for each in caplog.records if each.message == "collector_failed"]
    assert failures == ["OSError: no file", "OSError: no right"]
    assert "collector_recovered" in caplog.messages


async def test_a_collector_that_hangs_is_skipped_counted_and_used_again_once_it_is_back():
    hanging = Hanging()
    rig = Rig(Load(), hanging, deadline_s=0.2)

    async def let_it_return():
        job = rig.runner._overdue[pb.FAMILY_DISK_USAGE]
        hanging.gate.set()
        await job.outcome

    rig.before_tick[3] = let_it_return
    ticks = await rig.run(4)

    assert [health(each).stuck_collectors for each in ticks] == [1, 1, 1, 0]
    assert hanging.calls == 2, "it was not started while it hung"
    assert [pb.FAMILY_DISK_USAGE in each.samples for each in ticks] == [False, False, False, True]
    assert all(each.samples[pb.FAMILY_CPU] for each in ticks)


async def test_mounts_that_hang_inside_a_collector_are_counted():
    (tick,) = await Rig(Stuck()).run(1)

    assert health(tick).stuck_collectors == 2


async def test_a_stop_does_not_wait_for_a_collector_that_hangs():
    hanging = Hanging()
    rig = Rig(Load(), hanging)
    running = asyncio.create_task(rig.run(9))
    assert await asyncio.to_thread(hanging.began.wait, 5.0)

    rig.stop.set()

    async with asyncio.timeout(2.0):
        await running
    hanging.gate.set()


async def test_a_tick_without_samples_is_not_handed_over():
    rig = Rig(Stuck(), intervals_s={pb.FAMILY_DISK_USAGE: 10.0})

    assert await rig.run(3) == []


@pytest.mark.parametrize("family", [pb.FAMILY_CPU], ids=["cpu"])
async def test_a_family_without_a_collector_is_not_due(family):
    rig = Rig(intervals_s={family: 10.0})

    assert await rig.run(2) == []


async def test_another_interval_holds_at_once_and_stays_on_the_grid():
    rig = Rig(Load(), intervals_s={pb.FAMILY_CPU: 60.0})

    async def change():
        rig.runner.change({pb.FAMILY_CPU: 5.0}, rig.runner.collectors)

    rig.before_tick[1] = change  # a minute after the first tick
    begun_ns = rig.clock.monotonic_ns()
    await rig.run(ticks=5)

    seconds = [(tick.monotonic_ns - begun_ns) / NS_PER_S for tick in rig.ticks]
    assert seconds == [0, 60, 65, 70]


async def test_a_family_that_is_switched_on_begins_with_a_new_collector():
    old, new = Load(), Load()
    rig = Rig(old, Stuck(), intervals_s={pb.FAMILY_DISK_USAGE: 10.0, pb.FAMILY_AGENT_HEALTH: 10.0})

    async def change():
        rig.runner.change({pb.FAMILY_CPU: 10.0}, [new])

    rig.before_tick[1] = change
    await rig.run(ticks=4)

    assert (old.calls, new.calls > 0) == (0, True)
    assert list(rig.ticks[-1].samples) == [pb.FAMILY_CPU]
