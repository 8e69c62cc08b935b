"""`hostpulse up`: started, asked, killed in parts and as a whole, stopped, started again."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import collectors
from storage import catalog
from tests.e2e.processes import is_running, say, until
from tests.e2e.system import CHILDREN, READY, READY_WITHIN_S, SERVER, System, get

if TYPE_CHECKING:
    from storage.embedded import EmbeddedPostgres
    from tests.e2e.processes import Ground

STOP_WITHIN_S = 10.0
BACK_WITHIN_S = 5.0
SECOND_START_WITHIN_S = 10.0
FAST = {"HOSTPULSE_INTERVAL_S": "5"}


def tables_of_this_kernel() -> set[str]:
    """Return the tables that must fill here: all but those whose source is missing."""
    absent = {"custom"}
    if not Path("/proc/pressure").exists():
        absent.add("pressure")
    for each in collectors.build(collectors.CollectorSettings()):
        name = type(each).__module__.rpartition(".")[2]
        if name in ("disk_io", "network", "disk_usage"):
            each.collect()  # rates need two readings
            if not each.collect():
                absent.add(name)
    return set(catalog.TABLES) - absent


def test_a_first_start_watches_this_machine_and_a_second_one_still_knows(ground: Ground) -> None:
    system = System(ground)
    expected = tables_of_this_kernel()

    system.start()
    ready_at = time.monotonic()
    until(lambda: len(system.points("cpu.usage_percent")) >= 2, within_s=35, what="two points")
    until(
        lambda: {name for name, n in system.count(list(catalog.TABLES)).items() if n} >= expected,
        within_s=35 - (time.monotonic() - ready_at),
        what=f"rows in {', '.join(sorted(expected))}",
    )
    before = system.points("cpu.usage_percent")
    assert SERVER in str(get(printed_url(system), system.admin_key))
    status, took_s = system.stop()

    assert status == 0
    assert took_s < STOP_WITHIN_S
    assert ground.survivors() == {}
    assert (system.data_dir / "admin.key").stat().st_mode & 0o777 == 0o600

    again_s = system.start()

    assert again_s < SECOND_START_WITHIN_S
    assert system.points("cpu.usage_percent")[: len(before)] == before
    assert system.stop()[0] == 0


def printed_url(system: System) -> str:
    """Return the address of the curl command that it prints for people to copy."""
    assert system.up is not None
    lines = system.up.log.splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.strip().startswith("curl"))
    return lines[at + 1].strip().strip("'")


@pytest.mark.timeout(150)
def test_every_child_comes_back_and_none_outlives_the_supervisor(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    system.start()
    until(lambda: len(system.children()) == len(CHILDREN), within_s=5, what="four children")
    system.wait_for_fresh_data(within_s=15)

    for name in CHILDREN:
        killed = system.children()[name]
        os.kill(killed, signal.SIGKILL)
        killed_at = time.monotonic()
        until(
            lambda name=name, killed=killed: (
                system.children().get(name, killed) != killed and works(system, name)
            ),
            within_s=BACK_WITHIN_S,
            what=f"{name} back",
        )
        say(f"{name} was back after {time.monotonic() - killed_at:.1f} s")
        system.wait_for_fresh_data(within_s=25)
        assert set(system.children()) == set(CHILDREN)

    assert system.up is not None
    orphans = system.children().values()
    os.kill(system.up.pid, signal.SIGKILL)
    system.up.popen.wait(timeout=5)
    until(
        lambda: not any(map(is_running, orphans)) and not ground.survivors(),
        within_s=10,
        what="the end of all children",
    )
    assert system.start() < SECOND_START_WITHIN_S
    system.wait_for_fresh_data(within_s=15)
    assert system.stop()[0] == 0


def works(system: System, name: str) -> bool:
    """Whether a child that was just started does its work."""
    match name:
        case "postgres":
            return system.newest() is not None
        case "gateway":
            return get(system.url("/readyz"))[0] == 200
        case "alerting":
            assert system.up is not None
            return system.up.log.count("alerting_started") == 2
        case _:
            assert system.up is not None
            return system.up.log.count("agent_started") == 2


# A database that does not answer: settings are looked at before anybody waits for it.
NO_DATABASE = {"HOSTPULSE_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:9/none"}
WRONG = {
    "HOSTPULSE_DB_PORT": "many",
    "HOSTPULSE_DATA_DIR": "/proc/hostpulse",
    "HOSTPULSE_DATABASE_URL": "mysql://localhost/hostpulse",
    "HOSTPULSE_INTERVAL_S": "1",
    "HOSTPULSE_GRPC_LISTEN": "everywhere",
    "HOSTPULSE_HTTP_LISTEN": "127.0.0.1:http",
    "HOSTPULSE_ALERT_INTERVAL_S": "0",
    "HOSTPULSE_SMTP_URL": "mail.example.org",
    "HOSTPULSE_SERVER_NAME": "a\nb",
}
WITH_DATABASE = ("HOSTPULSE_DB_PORT", "HOSTPULSE_DATABASE_URL", "HOSTPULSE_INTERVAL_S")


def test_a_wrong_setting_ends_it_with_one_line_that_names_it(ground: Ground) -> None:
    system = System(ground)
    wrong = {}
    for variable, value in WRONG.items():
        database = {} if variable in WITH_DATABASE else NO_DATABASE
        system.settings = FAST | database | {variable: value}
        up = system.launch()
        status = up.popen.wait(timeout=20)
        lines = up.log.splitlines()
        if status != 2 or len(lines) != 1 or variable not in lines[0]:
            wrong[variable] = (status, up.log)

    assert wrong == {}


def test_what_is_taken_is_named(ground: Ground) -> None:
    first = System(ground, settings=FAST)
    first.start()

    refused = {}
    for variable, other in {
        "HOSTPULSE_DATA_DIR": System(ground, data_dir=first.data_dir),
        "HOSTPULSE_DB_PORT": System(ground, data_dir=ground.folder / "b", db_port=first.db_port),
        "HOSTPULSE_GRPC_LISTEN": System(
            ground, data_dir=ground.folder / "c", grpc_port=first.grpc_port
        ),
        "HOSTPULSE_HTTP_LISTEN": System(
            ground, data_dir=ground.folder / "d", http_port=first.http_port
        ),
    }.items():
        up = other.launch()
        status = up.popen.wait(timeout=20)
        if status != 2 or variable not in up.log or "is ready" in up.log or "Traceback" in up.log:
            refused[variable] = (status, up.log)

    assert refused == {}
    first.wait_for_fresh_data(within_s=15)  # it did not mind
    assert first.stop()[0] == 0


def test_whenever_it_is_ended_while_it_starts_nothing_is_left_and_it_starts_again(
    ground: Ground,
) -> None:
    system = System(ground, settings=FAST)
    # Through initdb, the start of PostgreSQL, the migrations and the start of the gateway.
    for moment_s in (0.4, 0.8, 1.2, 1.8, 2.6):
        up = system.launch()
        pass_time(moment_s)
        os.kill(up.pid, signal.SIGKILL)
        up.popen.wait(timeout=5)
    # At once: what the killed one left may still be on its way out.
    system.start()
    assert system.stop()[0] == 0
    assert ground.survivors() == {}

    for moment_s in (0.5, 1.0, 1.5):
        system.launch()
        pass_time(moment_s)
        status, took_s = system.stop()
        assert status == 0
        assert took_s < STOP_WITHIN_S
        assert ground.survivors() == {}


def pass_time(seconds: float) -> None:
    """Let time pass: where a signal strikes is a matter of time, not of an event."""
    time.sleep(seconds)


def test_children_that_hang_are_ended_in_time(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    system.start()
    until(lambda: len(system.children()) == len(CHILDREN), within_s=5, what="four children")
    system.wait_for_fresh_data(within_s=15)
    for pid in system.children().values():
        os.kill(pid, signal.SIGSTOP)

    status, took_s = system.stop()

    assert status == 0
    assert took_s < STOP_WITHIN_S
    until(lambda: not ground.survivors(), within_s=2, what="the end of PostgreSQL's own children")
    assert system.start(within_s=20) < 2 * SECOND_START_WITHIN_S  # with a crash recovery
    assert system.stop()[0] == 0


def test_a_child_that_can_not_be_kept_running_ends_everything(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    up = system.launch()
    killed: set[int] = set()

    def kill() -> bool:
        pid = system.children().get("alerting")
        if pid is not None and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return up.popen.poll() is not None

    until(kill, within_s=50, what="the end")

    assert len(killed) == 5
    assert up.popen.returncode == 1
    assert "alerting ended 5 times within 60 s" in up.log
    assert ground.survivors() == {}


def test_it_runs_on_a_database_of_somebody_else(ground: Ground, postgres: EmbeddedPostgres) -> None:
    dsn = f"{postgres.url.rpartition('/')[0]}/made_by_up"
    system = System(ground, settings=FAST | {"HOSTPULSE_DATABASE_URL": dsn})

    system.start()
    until(lambda: system.points("cpu.load1"), within_s=15, what="a point")

    assert set(system.children()) == set(CHILDREN) - {"postgres"}
    assert not (system.data_dir / "postgres").exists()
    assert system.stop()[0] == 0


def test_ctrl_c_on_make_up_leaves_no_process(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    # The front door as it is, but with the environment that this test runs in.
    make = ground.start(
        "make",
        ["make", "up", f"BIN={Path(sys.executable).parent}", "--assume-old=.venv/server.stamp"],
        system.environment,
    )
    make.wait_for(READY, within_s=READY_WITHIN_S)

    os.killpg(make.pid, signal.SIGINT)  # as a terminal does

    make.popen.wait(timeout=STOP_WITHIN_S)
    until(lambda: not ground.survivors(), within_s=STOP_WITHIN_S, what="the end of all")
