from __future__ import annotations

import pytest

from agent.farewell import SCHEDULED, Farewell
from hostpulse.clock import NS_PER_S, ManualClock
from hostpulse.v1 import telemetry_pb2 as pb


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "__init__.py"
    path.write_text('__version__ = "1"')
    return path


def schedule(root, clock, *, mode: str, in_s: float) -> None:
    """Write what logind(8) writes for `shutdown -r +5`."""
    due_us = clock.wall_ns() // 1000 + round(in_s * 1_000_000)
    path = root / SCHEDULED
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"USEC={due_us}\nWARN_WALL=1\nMODE={mode}\nUID=0\n")


def test_a_stop_that_says_nothing_is_a_shutdown(clock, code, tmp_path):
    assert Farewell(clock, code=code, root=tmp_path).reason() == pb.GOODBYE_REASON_SHUTDOWN


@pytest.mark.parametrize("mode", ["reboot", "kexec"])
def test_a_scheduled_reboot_that_is_due_is_a_reboot(clock, code, tmp_path, mode):
    farewell = Farewell(clock, code=code, root=tmp_path)
    schedule(tmp_path, clock, mode=mode, in_s=60)
    clock.advance(60)

    assert farewell.reason() == pb.GOODBYE_REASON_REBOOT


@pytest.mark.parametrize(("mode", "in_s"), [("poweroff", 0), ("reboot", 600)])
def test_a_power_off_and_a_reboot_later_today_are_none(clock, code, tmp_path, mode, in_s):
    schedule(tmp_path, clock, mode=mode, in_s=in_s)

    assert Farewell(clock, code=code, root=tmp_path).reason() == pb.GOODBYE_REASON_SHUTDOWN


@pytest.mark.parametrize("text", ["", "MODE=reboot", "MODE=reboot\nUSEC=soon", "\xff\x00="])
def test_a_file_that_says_something_else_is_no_reboot(clock, code, tmp_path, text):
    path = tmp_path / SCHEDULED
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")

    assert Farewell(clock, code=code, root=tmp_path).reason() == pb.GOODBYE_REASON_SHUTDOWN


def test_code_that_was_replaced_is_an_upgrade(clock, code, tmp_path):
    farewell = Farewell(clock, code=code, root=tmp_path)
    new = code.with_name("new")
    new.write_text('__version__ = "2"')
    new.replace(code)

    assert farewell.reason() == pb.GOODBYE_REASON_UPGRADE


def test_code_that_was_removed_is_no_upgrade(clock, code, tmp_path):
    farewell = Farewell(clock, code=code, root=tmp_path)
    code.unlink()

    assert farewell.reason() == pb.GOODBYE_REASON_SHUTDOWN


def test_the_running_code_is_watched_where_nothing_else_is_given(clock, tmp_path):
    assert Farewell(clock, root=tmp_path).reason() == pb.GOODBYE_REASON_SHUTDOWN
    assert clock.wall_ns() > 60 * NS_PER_S
