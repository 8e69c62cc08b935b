from __future__ import annotations

import itertools
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, NameFilter, disk_usage, mounts
from agent.collectors.disk_usage import DiskUsageCollector, Room
from agent.collectors.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

    from agent.collectors.testing import FakeHost

PATIENCE_S = 10.0
ROOM = Room(total=1000, used=600, free=300, inodes_total=100, inodes_used=25)


def line(
    point: str, *, number: str = "8:1", device: str = "/dev/sda1", fstype: str = "ext4"
) -> str:
    return f"30 1 {number} / {point} rw,relatime shared:1 - {fstype} {device} rw\n"


class Filesystems:
    """Answers for every mount point, except those that hang until they are released."""

    def __init__(self, *, files: frozenset[str] = frozenset()) -> None:
        self.asked: list[str] = []
        self.files = files
        self.gates: dict[str, threading.Event] = {}

    def hang(self, point: str) -> None:
        self.gates[point] = threading.Event()

    def release(self) -> None:
        for gate in self.gates.values():
            gate.set()

    def look(self, point: str) -> Room | None:
        self.asked.append(point)
        if point in self.gates:
            self.gates[point].wait(PATIENCE_S)
        return None if point in self.files else ROOM


def collector(
    host: FakeHost, filesystems: Filesystems, settings: CollectorSettings | None = None
) -> DiskUsageCollector:
    return DiskUsageCollector(
        settings or CollectorSettings(mount_timeout_s=0.05), host.machine(), filesystems.look
    )


def points(reader: DiskUsageCollector) -> list[str]:
    return [sample.mount for sample in reader.collect()]


def test_percentages_are_those_of_df(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/"))

    (sample,) = collector(host, Filesystems()).collect()

    assert (sample.mount, sample.device, sample.fstype) == ("/", "/dev/sda1", "ext4")
    assert (sample.total_bytes, sample.used_bytes, sample.free_bytes) == (1000, 600, 300)
    assert sample.used_percent == pytest.approx(100 * 600 / 900)
    assert (sample.inodes_total, sample.inodes_used) == (100, 25)
    assert sample.inodes_used_percent == pytest.approx(25)


def test_pseudo_and_image_filesystems_are_left_out(host: FakeHost) -> None:
    host.write_proc(
        "self/mountinfo",
        line("/")
        + line("/proc", number="0:1", fstype="proc", device="proc")
        + line("/run", number="0:2", fstype="tmpfs", device="tmpfs")
        + line("/snap/core/1", number="7:1", fstype="squashfs", device="/dev/loop1")
        + line("/merged", number="0:3", fstype="overlay", device="overlay")
        + line("/srv", number="0:4", fstype="nfs4", device="nas:/srv"),
    )

    assert points(collector(host, Filesystems())) == ["/", "/srv"]


def test_the_root_is_watched_whatever_its_type_is(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/", number="0:9", fstype="overlay", device="overlay"))

    assert points(collector(host, Filesystems())) == ["/"]


def test_files_that_a_container_engine_binds_are_no_mounts(host: FakeHost) -> None:
    host.write_proc(
        "self/mountinfo",
        line("/", number="0:9", fstype="overlay", device="overlay")
        + line("/etc/resolv.conf")
        + line("/etc/hosts")
        + line("/data"),
    )
    files = frozenset({"/etc/resolv.conf", "/etc/hosts"})

    assert points(collector(host, Filesystems(files=files))) == ["/", "/data"]


def test_of_bind_mounts_the_first_one_is_sampled(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/") + line("/var/www") + line("/home", number="8:2"))
    filesystems = Filesystems()

    assert points(collector(host, filesystems)) == ["/", "/home"]
    assert "/var/www" not in filesystems.asked


def test_a_mount_that_does_not_answer_is_asked_once_and_counted(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/") + line("/nfs", number="0:40", fstype="nfs4"))
    filesystems = Filesystems()
    filesystems.hang("/nfs")
    reader = collector(host, filesystems)

    try:
        assert points(reader) == ["/"]
        assert reader.stuck == 1
        assert points(reader) == ["/"]
        assert points(reader) == ["/"]
        assert reader.stuck == 1
        assert filesystems.asked.count("/nfs") == 1
    finally:
        filesystems.release()


def test_a_mount_that_answers_again_is_sampled_again(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/nfs", number="0:40", fstype="nfs4"))
    filesystems = Filesystems()
    filesystems.hang("/nfs")
    reader = collector(host, filesystems)
    assert not points(reader)

    filesystems.release()
    for thread in threading.enumerate():
        if thread.name == disk_usage.THREAD_NAME:
            thread.join(PATIENCE_S)

    assert reader.stuck == 0
    assert points(reader) == ["/nfs"]


def test_mounts_that_hang_cost_one_time_limit_together(host: FakeHost) -> None:
    names = [f"/nfs{number}" for number in range(20)]
    lines = [line(name, number=f"0:{n}", fstype="nfs4") for n, name in enumerate(names)]
    host.write_proc("self/mountinfo", "".join(lines))
    filesystems = Filesystems()
    for name in names:
        filesystems.hang(name)
    clock = itertools.chain([0.0], itertools.repeat(60.0)).__next__  # the first one takes it all
    machine = Machine(clock=clock, proc=host.proc, sys=host.sys)
    reader = DiskUsageCollector(CollectorSettings(mount_timeout_s=1.0), machine, filesystems.look)

    try:
        assert not reader.collect()
        assert reader.stuck == 20
    finally:
        filesystems.release()


def test_more_filesystems_than_are_asked_at_once_are_all_sampled(host: FakeHost) -> None:
    count = 3 * disk_usage.PROBES_AT_ONCE + 1
    host.write_proc(
        "self/mountinfo", "".join(line(f"/tank/{n}", number=f"0:{n}") for n in range(count))
    )
    reader = collector(host, Filesystems(), CollectorSettings(mount_timeout_s=5.0))

    assert len(points(reader)) == count


def test_a_filesystem_that_answers_with_an_error_is_left_out_alone(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/") + line("/stale", number="0:40", fstype="nfs4"))

    def look(point: str) -> Room | None:
        if point == "/stale":
            raise OSError(116, "Stale file handle")
        return ROOM

    reader = DiskUsageCollector(CollectorSettings(), host.machine(), look)

    assert points(reader) == ["/"]
    assert reader.stuck == 0


def test_mounts_can_be_chosen_by_pattern(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/") + line("/data") + line("/boot", number="8:2"))
    settings = CollectorSettings(mounts=NameFilter(include=("/data", "/boot"), exclude=("/b*",)))

    assert points(collector(host, Filesystems(), settings)) == ["/data"]


def test_a_kernel_that_shows_nothing_gives_no_rows(host: FakeHost) -> None:
    assert not collector(host, Filesystems()).collect()


def test_escapes_and_strange_bytes_in_names_are_read(host: FakeHost) -> None:
    host.write_proc("self/mountinfo", line("/my\\040disk\\134x").encode() + b"8 \xff\n")
    (mount,) = mounts.read(host.machine())
    assert mount.point == "/my disk\\x"

    host.write_proc("self/mountinfo", b"1 2 8:1 / /caf\xe9 rw - ext4 /dev/sda1 rw\n")
    filesystems = Filesystems()

    assert points(collector(host, filesystems)) == ["/caf\ufffd"]
    assert os.fsencode(filesystems.asked[0]) == b"/caf\xe9"


def test_of_mounts_at_one_place_the_last_is_the_visible_one() -> None:
    table = line("/mnt", device="/dev/sda1") + line("/mnt", number="8:2", device="/dev/sdb1")

    (mount,) = mounts.parse_mountinfo(table.encode())

    assert mount.device == "/dev/sdb1"


@given(raw=st.binary())
def test_any_table_can_be_parsed(raw: bytes) -> None:
    mounts.parse_mountinfo(raw)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"blocks": 0}, None, id="no room at all"),
        pytest.param({"blocks_free": 200}, None, id="more free than there is"),
        pytest.param({"block_bytes": 2**60}, None, id="more than 64 bits"),
        pytest.param(
            {"blocks_available": 2**64 - 5},
            Room(total=400, used=240, free=0, inodes_total=50, inodes_used=40),
            id="below the reserve",
        ),
        pytest.param(
            {"inodes": 0, "inodes_free": 0}, Room(total=400, used=240, free=120), id="no inodes"
        ),
        pytest.param(
            {"inodes_free": 51}, Room(total=400, used=240, free=120), id="more inodes than all"
        ),
    ],
)
def test_what_statvfs_tells_is_made_sense_of(
    changed: dict[str, int], expected: Room | None
) -> None:
    told = {
        "block_bytes": 4,
        "blocks": 100,
        "blocks_free": 40,
        "blocks_available": 30,
        "inodes": 50,
        "inodes_free": 10,
    }

    assert disk_usage.room(**{**told, **changed}) == expected


def test_a_directory_has_room_and_a_file_is_no_mount(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("")

    assert disk_usage.look(str(tmp_path)) is not None
    assert disk_usage.look(str(file)) is None
    assert disk_usage.look(str(tmp_path / "gone")) is None


def test_elsewhere_psutil_lists_the_mounts(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = [
        SimpleNamespace(mountpoint="/", device="/dev/disk1s1", fstype="apfs"),
        SimpleNamespace(mountpoint="/dev", device="devfs", fstype="devfs"),
    ]

    def disk_partitions(**_: object) -> object:
        return partitions

    def room_of(_: str) -> object:
        return SimpleNamespace(total=1000, used=600, free=300)

    monkeypatch.setattr(psutil, "disk_partitions", disk_partitions)
    monkeypatch.setattr(psutil, "disk_usage", room_of)
    monkeypatch.delattr(os, "statvfs")
    reader = DiskUsageCollector(CollectorSettings(), host.machine(linux=False))

    (sample,) = reader.collect()

    assert (sample.mount, sample.device, sample.fstype) == ("/", "/dev/disk1s1", "apfs")
    assert sample.used_percent == pytest.approx(100 * 600 / 900)
    assert not sample.HasField("inodes_total")
