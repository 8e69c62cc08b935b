from __future__ import annotations

import pytest

from storage import catalog, mounts, reading


@pytest.mark.parametrize(
    ("mount", "device", "names"),
    [
        ("/", None, ["/"]),
        ("/", "sda1", ["/", "sda1", "sda"]),
        ("/", "vdb", ["/", "vdb"]),
        ("/", "nvme0n1p2", ["/", "nvme0n1p2", "nvme0n1"]),
        ("/", "nvme0n1", ["/", "nvme0n1"]),
        ("/", "mmcblk0p1", ["/", "mmcblk0p1", "mmcblk0"]),
        ("/", "md127", ["/", "md127"]),
        ("/", "dm-3", ["/", "dm-3"]),
    ],
)
def test_a_mount_is_looked_for_under_its_partition_its_disk_and_its_own_name(mount, device, names):
    assert mounts.devices_to_read(mount, device) == names


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        ("cpu.usage_percent", ()),
        ("cpu.cores", ("core",)),
        ("disk.used_percent", ("mount", "device", "fstype")),
        ("disk.read_mbps", ("device", "mount")),
        ("network.rx_mbps", ("interface",)),
        ("process.cpu_percent", ("pid", "name", "username", "cmdline")),
        ("custom.value", ("name",)),
    ],
)
def test_every_metric_says_by_which_labels_it_can_be_filtered(metric, names):
    assert reading.filter_names(catalog.find_metric(metric)) == names
