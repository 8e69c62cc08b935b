from __future__ import annotations

import os
import platform

import psutil
import pytest

from agent import identity
from hostpulse import errors

BOOT_ID = "efd001e9-3dad-4ea4-a725-adb94115 8c76".replace(" ", "")


@pytest.fixture
def root(tmp_path):
    """An empty machine, and a way to put files on it."""

    class Machine:
        path = tmp_path / "root"
        data_dir = tmp_path / "data"

        def put(self, name, text):
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

        def identity(self):
            return identity.read(self.data_dir, root=self.path)

    machine = Machine()
    machine.path.mkdir()
    return machine


def test_the_machines_own_ids_are_used(root):
    root.put("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    root.put("proc/sys/kernel/random/boot_id", BOOT_ID + "\n")

    host = root.identity()

    assert host.machine_id == "3d1219c7c4c5404aaa1f6d2a48adfda4"
    assert host.boot_id == bytes.fromhex(BOOT_ID.replace("-", ""))
    assert not root.data_dir.exists()


def test_dbus_has_the_id_where_systemd_has_none(root):
    root.put("var/lib/dbus/machine-id", "abc\n")

    assert root.identity().machine_id == "abc"


@pytest.mark.parametrize("text", ["", "\n", "uninitialized\n", "no good id!\n", "x" * 65], ids=repr)
def test_an_id_that_is_none_is_replaced_by_one_that_lasts(root, text):
    root.put("etc/machine-id", text)

    first, second = root.identity(), root.identity()

    assert first.machine_id == second.machine_id
    assert len(first.machine_id) == 32
    assert [each.name for each in root.data_dir.iterdir()] == ["machine-id"]


def test_a_machine_without_id_needs_a_directory_to_keep_one(root):
    root.data_dir.write_text("a file")

    with pytest.raises(errors.ConfigError, match="HOSTPULSE_DATA_DIR"):
        root.identity()


def test_a_boot_without_id_is_told_by_its_time_and_not_by_the_wobble_of_the_clock(
    root, monkeypatch
):
    root.put("etc/machine-id", "abc")
    booted = {"at": 1_800_000_000.0}
    monkeypatch.setattr(psutil, "boot_time", lambda: booted["at"])

    first = root.identity().boot_id
    booted["at"] += 1.5
    same = root.identity().boot_id
    booted["at"] += 600
    other = root.identity().boot_id

    assert first == same != other
    assert len(first) == 16


def test_facts_of_this_host_are_found():
    facts = identity.host_facts()

    assert facts.hostname
    assert facts.kernel_version == platform.release()
    assert facts.cpu_cores_logical == os.cpu_count()
    assert facts.memory_total_bytes == psutil.virtual_memory().total
    assert facts.cpu_cores_physical == psutil.cpu_count(logical=False)
    assert facts.boot_time_unix_ns > 0


def test_the_kernels_files_come_first(root, monkeypatch):
    monkeypatch.delattr(psutil, "boot_time")
    monkeypatch.delattr(psutil, "cpu_count")
    monkeypatch.delattr(psutil, "virtual_memory")
    root.put("proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n")
    root.put("proc/stat", "cpu 1 2 3\nbtime 1800000000\n")
    core = (
        "processor : {}\nmodel name : AMD EPYC\nphysical id\t: 0\nsiblings : 4\ncore id\t\t: {}\n\n"
    )
    root.put("proc/cpuinfo", "".join(core.format(n, n // 2) for n in range(4)))

    facts = identity.host_facts(root=root.path)

    assert facts.memory_total_bytes == 2048 * 1024
    assert facts.boot_time_unix_ns == 1_800_000_000 * 10**9
    assert (facts.cpu_cores_physical, facts.cpu_model) == (2, "AMD EPYC")


def test_a_fact_that_is_not_to_be_had_is_absent(root, monkeypatch):
    monkeypatch.delattr(psutil, "boot_time")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    facts = identity.host_facts(root=root.path)

    for field in (
        "boot_time_unix_ns",
        "cpu_cores_logical",
        "cpu_cores_physical",
        "cpu_model",
        "virtualization",
    ):
        assert not facts.HasField(field), field


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "kvm"),
        ({"proc/cpuinfo": "model name\t: AMD EPYC\nflags\t\t: fpu hypervisor sse\n"}, "vm"),
        ({"proc/cpuinfo": "flags\t\t: fpu sse\n"}, ""),
    ],
    ids=["lxc", "docker", "podman", "kvm", "some hypervisor", "metal"],
)
def test_virtualization_is_named_where_it_shows(root, files, expected):
    for name, text in files.items():
        root.put(name, text)

    assert identity.host_facts(root=root.path).virtualization == expected
