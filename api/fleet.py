"""The newest overview, read once for everybody who looks.

Reading is rationed: a snapshot lives for 2 s at least, and for 20 times as long as it took to read,
so that looking costs the database 5 % of its time at most, whatever the number of servers and of
people. Sparklines change once a minute.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from api import times
from hostpulse.clock import NS_PER_S
from storage import database, overview
from storage.servers import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector_gateway.services import Services

LIVES_S = 2.0
SHARE = 20.0  # a snapshot lives so many times as long as reading it took
SPARKLINES_LIVE_S = 60.0
RECENT_MAX = 5  # kept, so that a stream can begin where a page was read

Shown = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the page is told: `servers` by name, without sparklines."""

    servers: Mapping[str, Shown]
    sparklines: Mapping[str, Shown]
    fleet: Shown
    alerts: list[Shown]
    number: int  # milliseconds since 1970: it grows, and no other gateway has the same


class Fleet:
    """Reads the overview; `snapshot` returns the newest that there is."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = asyncio.Lock()
        self._recent: deque[Snapshot] = deque(maxlen=RECENT_MAX)
        self._until_s = 0.0
        self._sparklines = overview.Sparklines(begin=datetime.now(UTC))
        self._sparklines_until_s = 0.0

    async def snapshot(self) -> Snapshot:
        """Return a snapshot, read now if the last one has lived long enough."""
        async with self._lock:  # one reads, the others wait for the same
            if not self._recent or time.monotonic() >= self._until_s:
                began_s = time.monotonic()
                self._recent.append(await self._read())
                took_s = time.monotonic() - began_s
                self._until_s = time.monotonic() + max(LIVES_S, took_s * SHARE)
            return self._recent[-1]

    def find(self, number: int | None) -> Snapshot | None:
        """Return a snapshot of the last ones by its number; None if it is not among them."""
        return next((each for each in self._recent if each.number == number), None)

    async def _read(self) -> Snapshot:
        now = datetime.fromtimestamp(self._services.clock.wall_ns() / NS_PER_S, UTC)
        pool = self._services.query_pool
        async with pool.acquire(timeout=database.ACQUIRE_TIMEOUT_S) as connection:
            found = await overview.read(connection)
            if time.monotonic() >= self._sparklines_until_s:
                self._sparklines = await overview.read_sparklines(connection, now=now)
                self._sparklines_until_s = time.monotonic() + SPARKLINES_LIVE_S
        return Snapshot(
            servers={line.server.name: show(line) for line in found.lines},
            sparklines={
                line.server.name: {
                    name: [_rounded(value) for value in of_server[line.server.id]]
                    for name, of_server in self._sparklines.values.items()
                    if line.server.id in of_server
                }
                for line in found.lines
            },
            fleet=summarise(found),
            alerts=[show_alert(each) for each in found.recent],
            number=self._services.clock.wall_ns() // 1_000_000,
        )


def shown_state(line: overview.Line) -> tuple[str, Shown | None]:
    """Return `ok`, `warning`, `critical` or `offline`, and the cause where it is not ok."""
    server = line.server
    if server.status is not Status.ONLINE:
        seen = times.format_time(server.last_seen) if server.last_seen else None
        return "offline", {
            "kind": server.status,
            "reason": server.status_reason,
            "last_seen": seen,
        }
    if not line.firing:
        return "ok", None
    worst = line.firing[0]
    return worst.severity, {
        "kind": "alert",
        "alert": worst.id,
        "rule": worst.rule,
        "metric": worst.metric,
        "value": _rounded(worst.value),
        "labels": worst.labels,
        "more": len(line.firing) - 1,
    }


def show(line: overview.Line) -> Shown:
    """Return a server as JSON."""
    state, cause = shown_state(line)
    return {
        "name": line.server.name,
        "state": state,
        "cause": cause,
        "labels": dict(line.server.labels),
        "cpu": _rounded(line.cpu_percent),
        "memory": _rounded(line.memory_percent),
        "disk": _rounded(line.disk_percent),
        "mount": line.mount,
        "rx": _rounded(line.rx_bytes_per_s),
        "tx": _rounded(line.tx_bytes_per_s),
    }


def summarise(found: overview.Overview) -> Shown:
    """Return the averages and the counts of the fleet."""
    states = [shown_state(line)[0] for line in found.lines]
    return {
        "servers": len(found.lines),
        "states": {name: states.count(name) for name in ("ok", "warning", "critical", "offline")},
        "cpu": _mean([line.cpu_percent for line in found.lines]),
        "memory": _mean([line.memory_percent for line in found.lines]),
        "disk": _mean([line.disk_percent for line in found.lines]),
        "rx": _mean([line.rx_bytes_per_s for line in found.lines]),
        "tx": _mean([line.tx_bytes_per_s for line in found.lines]),
        "firing": len(found.firing),
        "unacknowledged": sum(each.acknowledged_by is None for each in found.firing),
    }


def show_alert(row: Mapping[str, object]) -> Shown:
    """Return an alert as JSON; times as RFC 3339."""
    return {
        key: times.format_time(value) if isinstance(value, datetime) else value
        for key, value in row.items()
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(math.fsum(known) / len(known)) if known else None


def _rounded(value: float | None) -> float | None:
    """Keep four digits: no screen shows more."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
