"""`hostpulse up`: started, asked, killed in parts and as a whole, stopped, started again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import collectors
from storage import catalog
from tests.e2e.processes import is_running, say, until
from tests.e2e.system import CHILDREN, SERVER, System, get

if TYPE_CHECKING:
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


@pytest.mark.timeout(120)
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
    status, took_s = system.stop()

    assert status == 0
    assert took_s < STOP_WITHIN_S
    assert ground.survivors() == {}
    assert (system.data_dir / "admin.key").stat().st_mode & 0o777 == 0o600

    again_s = system.start()

    assert again_s < SECOND_START_WITHIN_S
    assert system.points("cpu.usage_percent")[: len(before)] == before
    assert system.stop()[0] == 0


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
    # At once: what the killed one left may still be on its way out.
    os.kill(system.up.pid, signal.SIGKILL)
    system.up.popen.wait(timeout=5)
    system.start(within_s=20)
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


WRONG = {
    "HOSTPULSE_DB_PORT": "many",
    "HOSTPULSE_GRPC_LISTEN": "everywhere",
    "HOSTPULSE_HTTP_LISTEN": "127.0.0.1:http",
    "HOSTPULSE_DATABASE_URL": "mysql://localhost/hostpulse",
    "HOSTPULSE_INTERVAL_S": "1",
    "HOSTPULSE_ALERT_INTERVAL_S": "0",
    "HOSTPULSE_LOG_LEVEL": "loud",
    "HOSTPULSE_SMTP_URL": "mail.example.org",
    "HOSTPULSE_SERVER_NAME": "a\nb",
    "HOSTPULSE_TLS_CERT": "/nowhere/to/be/found.pem",
    "HOSTPULSE_DATA_DIR": "/proc/hostpulse",
}


@pytest.mark.timeout(90)
def test_a_wrong_setting_ends_it_with_one_line_that_names_it(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    wrong = {}
    for variable, value in WRONG.items():
        system.settings = FAST | {variable: value}
        up = system.launch()
        status = up.popen.wait(timeout=20)
        lines = [line for line in up.log.splitlines() if line.startswith("hostpulse")]
        named = [line for line in lines if variable in line]
        if status != 2 or len(named) != 1 or "is ready" in up.log or "Traceback" in up.log:
            wrong[variable] = (status, up.log)

    assert wrong == {}


@pytest.mark.timeout(90)
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


@pytest.mark.timeout(60)
def test_a_signal_while_it_starts_ends_it_as_well(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    system.start()
    assert system.stop()[0] == 0

    for moment_s in (0.3, 0.9, 1.5, 2.1):
        up = system.launch()
        begun = time.monotonic()
        until(lambda b=begun, m=moment_s: time.monotonic() - b > m, within_s=5, what="the moment")
        status, took_s = system.stop()
        assert took_s < STOP_WITHIN_S
        # Before Python has put its handler in place the signal itself ends it.
        assert status == 0 or (status in (-signal.SIGINT, 1, 130) and moment_s < 0.5), up.log
        assert ground.survivors() == {}


@pytest.mark.timeout(60)
def test_the_command_it_prints_works(ground: Ground) -> None:
    system = System(ground, settings=FAST)
    system.start()
    system.wait_for_fresh_data(within_s=15)
    assert system.up is not None
    lines = system.up.log.splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.strip().startswith("curl"))

    status, document = get(lines[at + 1].strip().strip("'"), system.admin_key)

    assert status == 200, document
    assert SERVER in str(document)
    assert system.stop()[0] == 0
