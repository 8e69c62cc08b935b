from __future__ import annotations

import pytest

from agent.schedule import Schedule
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

CPU, DISK = pb.FAMILY_CPU, pb.FAMILY_DISK_USAGE


def seconds(value):
    return round(value * NS_PER_S)


def test_everything_is_due_at_the_origin():
    plan = Schedule({CPU: 10.0, DISK: 60.0}, origin_ns=seconds(5))

    assert plan.next_ns() == seconds(5)
    assert set(plan.take_due(seconds(5))) == {CPU, DISK}


def test_what_is_due_at_one_moment_is_due_together():
    plan = Schedule({CPU: 10.0, DISK: 60.0}, origin_ns=0)
    ticks = []

    while plan.next_ns() <= seconds(120):
        moment = plan.next_ns()
        ticks.append((moment // NS_PER_S, len(plan.take_due(moment))))

    assert ticks == [(s, 2 if s % 60 == 0 else 1) for s in range(0, 121, 10)]


@pytest.mark.parametrize(
    ("awake_s", "next_s"),
    [
        pytest.param(10.0, 20.0, id="in time"),
        pytest.param(14.0, 20.0, id="a little late: the next one is not moved"),
        pytest.param(3_607.0, 3_610.0, id="after a suspend: skipped, not caught up"),
    ],
)
def test_a_missed_moment_is_skipped(awake_s, next_s):
    plan = Schedule({CPU: 10.0}, origin_ns=0)
    plan.take_due(0)

    assert list(plan.take_due(seconds(awake_s))) == [CPU]

    assert plan.next_ns() == seconds(next_s)
    assert list(plan.take_due(seconds(awake_s))) == []


def test_a_schedule_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one family"):
        Schedule({}, origin_ns=0)
