"""One interval with load on everything, read by the collectors and independently at the same time.

Others may use the machine meanwhile, so the independent readings are taken around and within the
collectors' ones: what was counted must lie between the two, give or take 2 %.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from agent import collectors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.alone
LOAD_S = 3.0
BLOCK = b"x" * 65536
POINTS = 2.0
SHARE = 0.02
SECTOR_BYTES = 512
CPU_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the machine says at one moment, read without any code of the agent."""

    cpu: Mapping[str, float]
    stat: Mapping[str, int]
    disks: Mapping[str, Sequence[int]]
    interfaces: Mapping[str, Any]
    memory: Any
    swap: Any
    faults: int
    own_cpu_s: float
    tcp_states: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The collectors' samples, their interval, and four readings around and within it."""

    samples: Mapping[telemetry_pb2.Family, Sequence[Any]]
    seconds: float
    outer: tuple[Truth, Truth]
    inner: tuple[Truth, Truth]
    vmstat: str | None


def read_truth() -> Truth:
    lines = Path("/proc/stat").read_text().splitlines()
    columns = next(line.split() for line in lines if line.startswith("cpu "))
    counts = {line[:4]: int(line.split()[1]) for line in lines if line[:4] in {"ctxt", "intr"}}
    faults = Path("/proc/vmstat").read_text().split("pgfault ")[1].split()[0]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Truth(
        cpu=dict(zip(CPU_STATES, (int(column) for column in columns[1:9]), strict=True)),
        stat=counts,
        disks={
            line.split()[2]: [int(column) for column in line.split()[3:14]]
            for line in Path("/proc/diskstats").read_text().splitlines()
        },
        interfaces=psutil.net_io_counters(pernic=True, nowrap=False),
        memory=psutil.virtual_memory(),
        swap=psutil.swap_memory(),
        faults=int(faults),
        own_cpu_s=used.ru_utime + used.ru_stime,
        tcp_states=[one.status for one in psutil.net_connections(kind="tcp")],
    )


def receive_all(connection: socket.socket) -> None:
    while connection.recv(2**20):
        pass


def load_everything(folder: Path, seconds: float) -> None:
    """Keep a core, the disk and the loopback busy."""
    end = time.monotonic() + seconds
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        drain = threading.Thread(target=receive_all, args=(receiver,))
        drain.start()
        with sender, receiver, (folder / "load").open("wb", buffering=0) as file:
            while time.monotonic() < end:
                sender.sendall(BLOCK)
                file.write(BLOCK)
                os.fsync(file.fileno())
                file.seek(0)
            sender.shutdown(socket.SHUT_WR)
            drain.join(10.0)


@pytest.fixture(scope="module")
def interval(tmp_path_factory: pytest.TempPathFactory) -> Interval:
    # The loopback is the one interface that a test may load.
    settings = collectors.CollectorSettings(
        interfaces=collectors.NameFilter(include=("lo",)), interface_speeds_mbps={"lo": 100_000.0}
    )
    built = collectors.build(settings)
    tool = shutil.which("vmstat")

    outer_first = read_truth()
    vmstat = (
        subprocess.Popen([tool, "-n", str(int(LOAD_S)), "2"], stdout=subprocess.PIPE, text=True)
        if tool
        else None
    )
    for one in built:
        one.collect()
    started_s = time.monotonic()
    inner_first = read_truth()
    load_everything(tmp_path_factory.mktemp("load"), LOAD_S)
    inner_last = read_truth()
    seconds = time.monotonic() - started_s
    samples = {one.family: list(one.collect()) for one in built}
    outer_last = read_truth()

    output = vmstat.communicate(timeout=10.0)[0] if vmstat else None
    return Interval(
        samples=samples,
        seconds=seconds,
        outer=(outer_first, outer_last),
        inner=(inner_first, inner_last),
        vmstat=output,
    )


def agrees(ours: float, inner: float, outer: float, *, slack: float = 0.0) -> bool:
    low, high = sorted((inner, outer))
    return low * (1 - SHARE) - slack <= ours <= high * (1 + SHARE) + slack


def steps(first: Sequence[int], last: Sequence[int]) -> list[int]:
    return [new - old for old, new in zip(first, last, strict=True)]


def cpu_shares(first: Truth, last: Truth) -> dict[str, float]:
    spent = {state: last.cpu[state] - first.cpu[state] for state in CPU_STATES}
    return {state: 100 * ticks / sum(spent.values()) for state, ticks in spent.items()}


@pytest.mark.parametrize("state", CPU_STATES)
def test_cpu_shares_agree_with_proc(interval: Interval, state: str) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_CPU]
    inner, outer = cpu_shares(*interval.inner)[state], cpu_shares(*interval.outer)[state]

    assert agrees(getattr(sample, f"{state}_percent"), inner, outer, slack=POINTS)


def test_cpu_usage_agrees_with_vmstat(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_CPU]
    if interval.vmstat is None:
        expected = cpu_shares(*interval.outer)
        not_used = expected["idle"] + expected["iowait"]
    else:
        _, names, _, columns = interval.vmstat.splitlines()
        row = dict(zip(names.split(), columns.split(), strict=True))
        not_used = int(row["id"]) + int(row["wa"])

    # vmstat prints whole numbers: half a point of each of the two is its own.
    assert sample.usage_percent == pytest.approx(100 - not_used, abs=POINTS + 1)
    assert sample.usage_percent > 20 / (psutil.cpu_count() or 1)


def test_every_core_has_its_usage(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_CPU]

    cores = list(sample.core_usage_percent)

    assert len(cores) == psutil.cpu_count()
    assert sum(cores) / len(cores) == pytest.approx(sample.usage_percent, abs=POINTS)


@pytest.mark.parametrize(
    ("name", "field"), [("ctxt", "context_switches_per_s"), ("intr", "interrupts_per_s")]
)
def test_switches_and_interrupts_agree_with_proc(interval: Interval, name: str, field: str) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_CPU]
    inner, outer = (last.stat[name] - first.stat[name] for first, last in _pairs(interval))

    assert agrees(getattr(sample, field) * interval.seconds, inner, outer)


def test_the_load_agrees_with_the_system(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_CPU]

    assert (sample.load1, sample.load5, sample.load15) == pytest.approx(
        os.getloadavg(), rel=0.2, abs=0.5
    )


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("total_bytes", "total"),
        ("available_bytes", "available"),
        ("free_bytes", "free"),
        ("buffers_bytes", "buffers"),
        ("cached_bytes", "cached"),
    ],
)
def test_memory_agrees_with_psutil(interval: Interval, field: str, attribute: str) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_MEMORY]
    before, after = (getattr(one.memory, attribute) for one in _around_the_last(interval))

    assert agrees(getattr(sample, field), before, after, slack=sample.total_bytes * 0.005)


def test_used_memory_and_swap_agree_with_psutil(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_MEMORY]
    _, last = _around_the_last(interval)

    assert sample.used_percent == pytest.approx(last.memory.percent, abs=POINTS)
    assert sample.used_bytes == sample.total_bytes - sample.available_bytes
    assert sample.swap_total_bytes == last.swap.total
    assert agrees(sample.swap_used_bytes, last.swap.used, last.swap.used)


def test_page_faults_agree_with_proc(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_MEMORY]
    inner, outer = (last.faults - first.faults for first, last in _pairs(interval))

    assert agrees(sample.page_faults_per_s * interval.seconds, inner, outer)


def test_disk_usage_agrees_with_df(interval: Interval) -> None:
    samples = {one.mount: one for one in interval.samples[telemetry_pb2.FAMILY_DISK_USAGE]}
    total, used, available, percent, inodes, inodes_used = _df("/")

    root = samples["/"]

    assert root.total_bytes == total
    assert root.used_bytes == pytest.approx(used, rel=SHARE)
    assert root.free_bytes == pytest.approx(available, rel=SHARE)
    assert root.used_percent == pytest.approx(percent, abs=POINTS)
    if inodes:
        assert root.inodes_total == inodes
        assert root.inodes_used == pytest.approx(inodes_used, rel=SHARE)


def test_disk_traffic_agrees_with_proc(interval: Interval) -> None:
    for sample in interval.samples[telemetry_pb2.FAMILY_DISK_IO]:
        inner, outer = (
            steps(first.disks[sample.device], last.disks[sample.device])
            for first, last in _pairs(interval)
        )
        counted = {
            0: sample.reads_per_s,
            2: sample.read_bytes_per_s / SECTOR_BYTES,
            4: sample.writes_per_s,
            6: sample.write_bytes_per_s / SECTOR_BYTES,
            9: sample.utilization_percent / 100 * 1000,
            10: sample.queue_length * 1000,
        }
        for column, per_second in counted.items():
            assert agrees(per_second * interval.seconds, inner[column], outer[column], slack=10)
        if inner[0] + inner[4] > 100:
            expected = (outer[3] + outer[7]) / (outer[0] + outer[4])
            assert sample.await_ms == pytest.approx(expected, rel=0.1)


def test_whole_disks_are_sampled_and_nothing_else(interval: Interval) -> None:
    known = {sample.device for sample in interval.samples[telemetry_pb2.FAMILY_DISK_IO]}
    whole = {
        name
        for name in interval.outer[1].disks
        if not Path("/sys/class/block", name, "partition").exists()
        and not name.startswith(("loop", "ram", "zram", "sr", "fd"))
    }

    assert known == whole


def test_network_traffic_agrees_with_psutil(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_NETWORK]
    for field, attribute in {
        "rx_bytes_per_s": "bytes_recv",
        "tx_bytes_per_s": "bytes_sent",
        "rx_packets_per_s": "packets_recv",
        "tx_packets_per_s": "packets_sent",
        "rx_drops_per_s": "dropin",
        "tx_drops_per_s": "dropout",
        "rx_errors_per_s": "errin",
        "tx_errors_per_s": "errout",
    }.items():
        inner, outer = (
            getattr(last.interfaces["lo"], attribute) - getattr(first.interfaces["lo"], attribute)
            for first, last in _pairs(interval)
        )
        assert agrees(getattr(sample, field) * interval.seconds, inner, outer), field

    assert sample.rx_bytes_per_s > len(BLOCK)
    assert sample.utilization_percent == pytest.approx(
        sample.rx_bytes_per_s * 8 / 100_000e6 * 100, rel=SHARE
    )


def test_tcp_states_agree_with_psutil(interval: Interval) -> None:
    (sample,) = interval.samples[telemetry_pb2.FAMILY_TCP]
    before, after = (one.tcp_states for one in _around_the_last(interval))

    assert agrees(sample.total, len(before), len(after), slack=2)
    for state in (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED, psutil.CONN_TIME_WAIT):
        counted = getattr(sample, state.lower())
        assert agrees(counted, before.count(state), after.count(state), slack=2)


def test_this_busy_process_is_among_the_top_with_its_share_of_a_core(interval: Interval) -> None:
    samples = {one.pid: one for one in interval.samples[telemetry_pb2.FAMILY_PROCESS]}
    inner, outer = (last.own_cpu_s - first.own_cpu_s for first, last in _pairs(interval))

    own = samples[os.getpid()]

    assert own.cpu_rank >= 1
    assert agrees(own.cpu_percent / 100 * interval.seconds, inner, outer, slack=0.1)
    assert own.memory_rss_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
    assert own.username == psutil.Process().username()


def test_pressure_is_there_where_the_kernel_has_it(interval: Interval) -> None:
    samples = interval.samples[telemetry_pb2.FAMILY_PRESSURE]
    try:
        has_pressure = bool(Path("/proc/pressure/cpu").read_bytes())
    except OSError:  # not built in, or switched off at boot
        has_pressure = False

    assert bool(samples) == has_pressure


def _pairs(interval: Interval) -> tuple[tuple[Truth, Truth], tuple[Truth, Truth]]:
    return interval.inner, interval.outer


def _around_the_last(interval: Interval) -> tuple[Truth, Truth]:
    return interval.inner[1], interval.outer[1]


def _df(mount: str) -> tuple[int, int, int, float, int, int]:
    """Total, used and available bytes, percent used, inodes and used ones."""
    tool = shutil.which("df")
    if tool is None:
        told = os.statvfs(mount)
        size = told.f_frsize
        used = told.f_blocks - told.f_bfree
        percent = 100 * used / (used + told.f_bavail)
        inodes = (told.f_files, told.f_files - told.f_ffree)
        return told.f_blocks * size, used * size, told.f_bavail * size, percent, *inodes
    columns = "--output=size,used,avail,pcent,itotal,iused"
    output = subprocess.run(
        [tool, "-B1", columns, mount], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    size, used, available, percent, *inodes = output.splitlines()[1].split()
    total, taken = (int(one) if one.isdigit() else 0 for one in inodes)
    return int(size), int(used), int(available), float(percent.rstrip("%")), total, taken
