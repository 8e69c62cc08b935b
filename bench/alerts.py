"""How long one alert cycle takes over N servers and all seeded rules.

    python -m bench.alerts [servers] [--cycles N]

Fills the last 10 minutes of an embedded PostgreSQL, as it is shipped, with samples of all the
families that rules look at, 10 s apart (disk_usage 60 s; two mounts, devices and interfaces each).
An edit of cpu_usage's threshold then makes nobody breach, one server in a hundred, and the whole
fleet at once; each first without channels, then with a webhook, which gets one message for all, and
PagerDuty, which gets one for each alert. A cycle must take less than 5 s and should take one.
With HOSTPULSE_DATABASE_URL it fills that database instead, which must be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from datetime import UTC, datetime, timedelta

import structlog

from alerting import cycle
from bench import databases
from migrations import run as migrations_run
from storage import database, engines

MUST_S = 5.0
PAST_S = 600
FILL = {
    "cpu": (
        10,
        1,
        "usage_percent, load1_per_core",
        "CASE WHEN s.id % 100 = 0 THEN 90 ELSE 60 END, 0.5",
    ),
    "memory": (
        10,
        1,
        "used_percent, swap_used_percent, available_bytes",
        "50 + random() * 20, 1, 4000000000",
    ),
    "disk_usage": (60, 2, "mount, used_percent, inodes_used_percent", "'/m' || n, 40, 10"),
    "disk_io": (10, 2, "device, await_ms", "'sd' || n, random() * 5"),
    "network": (
        10,
        2,
        "interface, utilization_percent, packet_loss_percent",
        "'eth' || n, random() * 10, 0",
    ),
    "tcp": (10, 1, "time_wait", "(random() * 100)::int"),
    "agent_health": (10, 1, "failed_sends", "0"),
}
FLEETS = {"quiet": 95, "1 % firing": 80, "all firing": 50}  # thresholds of cpu_usage


async def prepare(connection: database.Connection, servers: int) -> None:
    """Store the servers and their intervals."""
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status, last_seen, clock_offset_ms)"
        " SELECT 'server-' || n, true, 'online', now() + interval '1 hour', 0"
        " FROM generate_series(1, $1::int) n",
        servers,
    )
    for table, (interval_s, *_) in FILL.items():
        await connection.execute(
            "INSERT INTO family_interval (server_id, family, interval_s)"
            " SELECT id, $1, $2 FROM server",
            table,
            float(interval_s),
        )


class Samples:
    """Samples up to now, in the order of time, as agents would send them."""

    def __init__(self, connection: database.Connection) -> None:
        self._connection = connection
        self._start = datetime.now(UTC) - timedelta(seconds=PAST_S)
        self._until = dict.fromkeys(FILL, self._start)

    async def catch_up(self) -> int:
        """Store what has come due since the last time; return the rows."""
        rows = 0
        for table, (interval_s, series, columns, values) in FILL.items():
            now = datetime.now(UTC)
            done = await self._connection.execute(
                f"INSERT INTO {table} (time, server_id, {columns})"
                f" SELECT t, s.id, {values}"
                f" FROM generate_series($1::timestamptz, $2, interval '{interval_s} s') t,"
                f" server s, generate_series(1, {series}) n WHERE t > $3",
                self._start,
                now,
                self._until[table],
                timeout=600,
            )
            self._until[table] = now
            rows += int(done.split()[-1])
        return rows


async def measure(dsn: str, servers: int, cycles: int) -> float:
    """Fill the database and time cycles; return the longest one's seconds."""
    connection = await database.connect(dsn, "bench", statement_timeout_s=600)
    engine = await engines.of(connection)
    await engine.maintain(connection, datetime.now(UTC))
    started = time.monotonic()
    await prepare(connection, servers)
    samples = Samples(connection)
    rows = await samples.catch_up()
    await connection.execute("ANALYZE")
    took_s = time.monotonic() - started
    print(f"{engine.name}: {servers} servers, {rows} rows filled in {took_s:.0f} s", flush=True)
    longest_s = 0.0
    for channels in ("no channels", "webhook and PagerDuty"):
        for fleet, threshold in FLEETS.items():
            await _start_over(connection, threshold)
            took = [await _cycle(connection, samples) for _ in range(cycles)]
            longest_s = max(longest_s, *(seconds for seconds, _ in took))
            print(
                f"{channels}, {fleet}: first {took[0][0]:.2f} s ({took[0][1]}), then "
                + ", ".join(f"{seconds:.2f}" for seconds, _ in took[1:])
                + " s",
                flush=True,
            )
        await connection.execute(
            "INSERT INTO channel (name, kind, config, secret_env)"
            " VALUES ('ops', 'webhook', '{}', 'NOT_SET'), ('pager', 'pagerduty', '{}', 'NOT_SET')"
            " ON CONFLICT DO NOTHING"
        )
    await connection.close()
    return longest_s


async def _start_over(connection: database.Connection, threshold: float) -> None:
    """Forget all alerts, and let cpu_usage ask for so much."""
    await connection.execute("DELETE FROM notification")
    await connection.execute("TRUNCATE alert_history")
    await connection.execute("DELETE FROM alert")
    await connection.execute("VACUUM ANALYZE alert, notification")
    await connection.execute(
        "UPDATE alert_rule SET recovery_threshold = NULL, levels = $1 WHERE name = 'cpu_usage'",
        [{"severity": "warning", "threshold": threshold, "for_s": 300}],
    )


async def _cycle(connection: database.Connection, samples: Samples) -> tuple[float, str]:
    """Run one on fresh samples; return its seconds and what it did."""
    await samples.catch_up()
    started = time.monotonic()
    report = await cycle.run(connection)
    took_s = time.monotonic() - started
    assert report is not None
    return took_s, f"{report.transitions} transitions, {report.notifications} messages"


def main() -> int:
    """Run the benchmark; 1 where a cycle took too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", type=int, nargs="?", default=10_000)
    parser.add_argument("--cycles", type=int, default=3)
    given = parser.parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    if dsn := os.environ.get("HOSTPULSE_DATABASE_URL"):
        migrations_run.upgrade(dsn)
        longest_s = asyncio.run(measure(dsn, given.servers, given.cycles))
    else:
        with databases.embedded() as dsn:
            longest_s = asyncio.run(measure(dsn, given.servers, given.cycles))
    return int(longest_s >= MUST_S)


if __name__ == "__main__":
    sys.exit(main())
