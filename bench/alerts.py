"""How long one alert cycle takes over N servers and all seeded rules.

    python -m bench.alerts [servers] [--breaching SHARE] [--cycles N]

Fills the last 15 minutes of an embedded PostgreSQL with samples of all the families that rules look
at, 10 s apart (disk_usage 60 s, two mounts, devices and interfaces each), and runs cycles; what
fires is told to a webhook in one message, and to PagerDuty in one message for each alert. With
HOSTPULSE_DATABASE_URL it fills that database instead: it must be empty, and migrated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from alerting import cycle
from migrations import run as migrations_run
from storage import database, engines
from storage.embedded import EmbeddedPostgres

MINUTES = 15
PORT = 55_499
FILL = {
    "cpu": (
        10,
        1,
        "usage_percent, load1_per_core",
        "CASE WHEN s.id <= $1 THEN 90 ELSE 20 + random() * 40 END, random()",
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


async def fill(connection: database.Connection, servers: int, breaching: int) -> int:
    """Store servers and samples in the order of time, as agents would; return the rows."""
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status, last_seen, clock_offset_ms)"
        " SELECT 'server-' || n, true, 'online', now() + interval '1 hour', 0"
        " FROM generate_series(1, $1::int) n",
        servers,
    )
    rows = 0
    for table, (interval_s, series, columns, values) in FILL.items():
        await connection.execute(
            "INSERT INTO family_interval (server_id, family, interval_s)"
            " SELECT id, $1, $2 FROM server",
            table,
            float(interval_s),
        )
        parameters = (breaching,) if "$1" in values else ()
        done = await connection.execute(
            f"INSERT INTO {table} (time, server_id, {columns})"
            f" SELECT t, s.id, {values} FROM generate_series(now() - interval '{MINUTES} minutes',"
            f" now() + interval '2 minutes', interval '{interval_s} s') t,"
            f" server s, generate_series(1, {series}) n",
            *parameters,
            timeout=600,
        )
        rows += int(done.split()[-1])
    # One that gets a message for many alerts, and one that gets each by itself.
    await connection.execute(
        "INSERT INTO channel (name, kind, config, secret_env)"
        " VALUES ('ops', 'webhook', '{}', 'NOT_SET'), ('pager', 'pagerduty', '{}', 'NOT_SET')"
    )
    await connection.execute("ANALYZE")
    return rows


async def measure(dsn: str, servers: int, breaching: int, cycles: int) -> None:
    """Fill the database and time cycles."""
    connection = await database.connect(dsn, "bench", statement_timeout_s=600)
    await engines.by_name("postgres").maintain(connection, datetime.now(UTC))
    started = time.monotonic()
    rows = await fill(connection, servers, breaching)
    print(f"{servers} servers, {rows} rows filled in {time.monotonic() - started:.1f} s")
    for n in range(cycles):
        started = time.monotonic()
        report = await cycle.run(connection)
        took_s = time.monotonic() - started
        assert report is not None
        print(
            f"cycle {n + 1}: {took_s * 1000:.0f} ms, {report.rules} rules,"
            f" {report.findings} findings, {report.transitions} transitions"
        )
    await connection.close()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", type=int, nargs="?", default=1000)
    parser.add_argument("--breaching", type=float, default=0.001, help="share of servers")
    parser.add_argument("--cycles", type=int, default=5)
    given = parser.parse_args()
    breaching = round(given.servers * given.breaching)
    if dsn := os.environ.get("HOSTPULSE_DATABASE_URL"):
        asyncio.run(measure(dsn, given.servers, breaching, given.cycles))
        return
    root = Path(tempfile.mkdtemp(prefix="hostpulse-bench-"))
    root.chmod(0o711)
    server = EmbeddedPostgres(root / "data", port=PORT, settings={"fsync": "off"})
    server.prepare()
    with (root / "postgres.log").open("wb") as log:
        process = subprocess.Popen(server.command(), stderr=log, **server.process_options())
    try:
        wait_for(server.url)
        asyncio.run(database.create_if_missing(server.url))
        migrations_run.upgrade(server.url)
        asyncio.run(measure(server.url, given.servers, breaching, given.cycles))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def wait_for(dsn: str) -> None:
    """Return once the server answers, within 30 s."""

    async def ask() -> None:
        connection = await asyncpg.connect(f"{dsn.rpartition('/')[0]}/postgres", timeout=5)
        await connection.close()

    deadline = time.monotonic() + 30
    while True:
        try:
            return asyncio.run(ask())
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
