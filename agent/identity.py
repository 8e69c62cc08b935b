"""Who this host is: the machine, its present boot, and facts that rarely change."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hostpulse import errors
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

MACHINE_ID_FILES = ("etc/machine-id", "var/lib/dbus/machine-id")
MACHINE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
UNSET_MACHINE_ID = "uninitialized"  # machine-id(5): an image that has not been booted yet
BOOT_ID_FILE = "proc/sys/kernel/random/boot_id"
FLAGS = re.MULTILINE | re.DOTALL
BOOT_TIME_ROUNDING_S = 60  # a boot time is counted back from the wall clock and wobbles with it
HYPERVISORS = {
    "Amazon EC2": "ec2",
    "Google": "gce",
    "Microsoft Corporation": "hyperv",
    "QEMU": "kvm",
    "VMware, Inc.": "vmware",
    "Xen": "xen",
    "innotek GmbH": "virtualbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A host as the gateway knows it; `boot_id` is 16 bytes."""

    machine_id: str
    boot_id: bytes
    host: telemetry_pb2.HostFacts


def read(data_dir: Path, *, root: Path = Path("/")) -> Identity:
    """Read who this host is.

    Raises:
        ConfigError: The machine has no id of its own and none can be kept in `data_dir`.
    """
    machine_id = _machine_id(data_dir, root)
    return Identity(
        machine_id=machine_id, boot_id=_boot_id(machine_id, root), host=host_facts(root=root)
    )


def host_facts(*, root: Path = Path("/")) -> telemetry_pb2.HostFacts:
    """Return what can be found out about the host; the rest is absent."""
    facts = telemetry_pb2.HostFacts(python_version=platform.python_version())
    name, version = _os_release()
    processors = _text(root / "proc/cpuinfo")
    texts = {
        "hostname": socket.gethostname(),
        "os_name": name,
        "os_version": version,
        "kernel_version": platform.release(),
        "architecture": platform.machine(),
        "cpu_model": _cpu_model(processors),
        "virtualization": _virtualization(root, processors),
    }
    for field, text in texts.items():
        if text:
            setattr(facts, field, text)
    for field, number in _numbers(root, processors).items():
        if number:
            setattr(facts, field, number)
    return facts


def _machine_id(data_dir: Path, root: Path) -> str:
    """Return the machine's id, else one made up at the first start and kept."""
    kept = data_dir / "machine-id"
    for path in (*(root / name for name in MACHINE_ID_FILES), kept):
        text = _text(path).strip()
        if MACHINE_ID.fullmatch(text) and text != UNSET_MACHINE_ID:
            return text
    made = secrets.token_hex(16)
    unfinished = kept.with_name(f"{kept.name}.{os.getpid()}")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.write_text(made + "\n", encoding="ascii")
        unfinished.replace(kept)
    except OSError as error:
        expectation = f"a directory that can be written ({error.strerror}): this machine has no id"
        raise errors.ConfigError(
            "HOSTPULSE_DATA_DIR", expectation=expectation, value=str(data_dir)
        ) from error
    return made


def _boot_id(machine_id: str, root: Path) -> bytes:
    """Return the kernel's boot id, else one made of the machine and the minute of its boot."""
    digits = _text(root / BOOT_ID_FILE).strip().replace("-", "")
    if re.fullmatch(r"[0-9a-f]{32}", digits):
        return bytes.fromhex(digits)
    booted = round((_boot_time_s(root) or 0) / BOOT_TIME_ROUNDING_S)
    return hashlib.sha256(f"{machine_id} {booted}".encode()).digest()[:16]


def _numbers(root: Path, processors: str) -> dict[str, int | None]:
    """Return the host's numbers from the kernel's files, from psutil where those have none."""
    memory = re.search(r"^MemTotal:\s*([0-9]+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    cores = set(
        re.findall(r"^physical id\s*: ([0-9]+)$.*?^core id\s*: ([0-9]+)$", processors, FLAGS)
    )
    booted_s = _boot_time_s(root)
    return {
        "cpu_cores_logical": os.cpu_count(),
        "cpu_cores_physical": len(cores) or _psutil(lambda ps: ps.cpu_count(logical=False)),
        "memory_total_bytes": int(memory[1]) * 1024
        if memory
        else _psutil(lambda ps: ps.virtual_memory().total),
        "boot_time_unix_ns": booted_s and booted_s * NS_PER_S,
    }


def _boot_time_s(root: Path) -> int | None:
    found = re.search(r"^btime ([0-9]+)$", _text(root / "proc/stat"), re.MULTILINE)
    return int(found[1]) if found else _psutil(lambda ps: ps.boot_time())


def _psutil(measure: Callable[[ModuleType], float | None]) -> int | None:
    """Ask psutil for what a platform may not have."""
    import psutil  # 1 MB that an agent on Linux does not pay

    try:
        value = measure(psutil)
    except (AttributeError, NotImplementedError, OSError, psutil.Error, RuntimeError):
        return None
    return None if value is None else int(value)


def _os_release() -> tuple[str, str]:
    """Return the distribution (os-release(5)), else the system and its release."""
    try:
        entries = platform.freedesktop_os_release()
    except OSError:
        return platform.system(), platform.version()
    return entries.get("NAME", ""), entries.get("VERSION_ID", "")


def _cpu_model(processors: str) -> str:
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(\S.*)$", processors, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def _virtualization(root: Path, processors: str) -> str:
    """Name the container or hypervisor; empty where none shows itself."""
    if manager := _text(root / "run/systemd/container").strip():
        return manager
    for marker, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / marker).exists():
            return name
    vendor = _text(root / "sys/class/dmi/id/sys_vendor").strip()
    if vendor in HYPERVISORS:
        return HYPERVISORS[vendor]
    return "vm" if re.search(r"^flags\s*:.*\bhypervisor\b", processors, re.MULTILINE) else ""


def _text(path: Path) -> str:
    """Read a small file; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
