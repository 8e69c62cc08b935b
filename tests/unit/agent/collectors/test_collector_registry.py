from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import collectors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

NOT_COLLECTED = {
    telemetry_pb2.FAMILY_UNSPECIFIED,
    telemetry_pb2.FAMILY_CUSTOM,  # comes from operators
    telemetry_pb2.FAMILY_AGENT_HEALTH,  # comes from the runner
}


def test_every_family_of_the_host_has_one_collector() -> None:
    families = [one.family for one in collectors.build(collectors.CollectorSettings())]

    assert len(families) == len(set(families))
    assert set(families) == set(telemetry_pb2.Family.values()) - NOT_COLLECTED


def test_a_collector_of_an_empty_host_reports_nothing_and_does_not_fail(host: FakeHost) -> None:
    host.proc.mkdir()
    built = collectors.build(
        collectors.CollectorSettings(),
        clock=lambda: host.now_s,
        proc=host.proc,
        sys=host.sys,
        linux=True,
    )

    for _ in range(2):
        assert [list(one.collect()) for one in built] == [[] for _ in built]
        host.advance(10.0)


def test_an_agent_on_linux_does_not_pay_for_psutil() -> None:
    program = (
        "import sys; from agent import collectors\n"
        "for one in collectors.build(collectors.CollectorSettings(), linux=True): one.collect()\n"
        "sys.exit('psutil' in sys.modules)"
    )
    root = Path(collectors.__file__).parents[2]

    done = subprocess.run([sys.executable, "-c", program], cwd=root, timeout=30, check=False)

    assert done.returncode == 0


def test_only_failures_that_mean_absence_are_absence(tmp_path: Path) -> None:
    machine = collectors.Machine(proc=tmp_path)

    assert machine.read_proc("gone") is None
    with pytest.raises(IsADirectoryError):
        machine.read_proc("")


@pytest.mark.parametrize(
    ("chosen", "name", "expected"),
    [
        (collectors.NameFilter(), "eth0", True),
        (collectors.NameFilter(include=("eth*",)), "eth0", True),
        (collectors.NameFilter(include=("eth*",)), "wlan0", False),
        (collectors.NameFilter(exclude=("eth*",)), "eth0", False),
        (collectors.NameFilter(include=("eth0",), exclude=("eth*",)), "eth0", False),
        (collectors.NameFilter(include=("eth",)), "eth0", False),
        (collectors.NameFilter(include=("/mnt/*",)), "/mnt/a/b", True),
    ],
)
def test_a_filter_admits_what_is_included_and_not_excluded(
    chosen: collectors.NameFilter, name: str, expected: bool
) -> None:
    assert chosen.admits(name) is expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"process_top_n": -1}, "process_top_n must be 0 or more, got -1"),
        ({"mount_timeout_s": 0.0}, "mount_timeout_s must be above 0"),
        ({"interface_speeds_mbps": {"eth0": 0.0}}, "interface_speeds_mbps of eth0"),
        ({"interface_speeds_mbps": {"eth0": float("nan")}}, "interface_speeds_mbps of eth0"),
    ],
)
def test_settings_that_no_collector_could_work_with_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        collectors.CollectorSettings(**settings)  # type: ignore[arg-type] # wrong on purpose
