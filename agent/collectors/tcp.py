"""TCP connections by state, of both IP versions."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from agent.collectors import sock_diag
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.collectors.machine import Machine
    from agent.collectors.settings import CollectorSettings

# The kernel's numbers (include/net/tcp_states.h); 12 is half open too, and /proc calls it 3.
STATES = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "syn_recv",
}

STATE_COLUMN = re.compile(rb"^ *\d+: [0-9A-F:]+ [0-9A-F:]+ ([0-9A-F]{2}) ", re.MULTILINE)


class TcpCollector:
    """Asks the kernel by netlink, or reads /proc/net/tcp and tcp6; elsewhere psutil."""

    family = telemetry_pb2.FAMILY_TCP

    def __init__(self, settings: CollectorSettings, machine: Machine) -> None:
        del settings  # connections have none
        self._machine = machine

    def collect(self) -> Sequence[telemetry_pb2.TcpSample]:
        """Sample the sockets as they are; nothing where the system does not show them."""
        counts = read_linux(self._machine) if self._machine.linux else read_elsewhere()
        return [] if counts is None else [evaluate(counts)]


def read_linux(machine: Machine) -> Counter[str] | None:
    """Count by netlink, and by /proc where that fails or where /proc is not this machine's."""
    if machine.proc == Path("/proc"):
        try:
            return by_name(sock_diag.count_states())
        except OSError:  # an old kernel or a sandbox: /proc says the same, slower
            pass
    tables = [machine.read_proc(f"net/{name}") for name in ("tcp", "tcp6")]
    if tables == [None, None]:
        return None
    counts: Counter[int] = Counter()
    for table in tables:
        counts.update(parse(table or b""))
    return by_name(counts)


def parse(raw: bytes) -> Counter[int]:
    """Count the states in /proc/net/tcp or tcp6 (proc(5): the fourth column, hexadecimal)."""
    return Counter(int(state, 16) for state in STATE_COLUMN.findall(raw))


def by_name(counts: Counter[int]) -> Counter[str]:
    """Name the kernel's state numbers; those that no RFC knows are left out."""
    named: Counter[str] = Counter()
    for number, count in counts.items():
        if number in STATES:
            named[STATES[number]] += count
    return named


def read_elsewhere() -> Counter[str] | None:
    """Ask psutil, which some systems answer to the administrator only."""
    import psutil  # 1 MB that an agent on Linux does not pay

    if not hasattr(psutil, "net_connections"):
        return None
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, NotImplementedError):
        return None
    return Counter(connection.status.lower() for connection in connections)


def evaluate(counts: Counter[str]) -> telemetry_pb2.TcpSample:
    """Put the counts into a sample; a state that no socket is in is 0."""
    known = {name: counts[name] for name in STATES.values()}
    return telemetry_pb2.TcpSample(total=sum(known.values()), **known)
