"""How long a webhook waits after a breach has lasted: a real alert worker, a real HTTP server.

    python -m bench.webhook_delay [servers] [--runs N]

Keeps N servers sending samples, 10 to 20 s apart, into an embedded PostgreSQL, and runs the alert
worker as a process of its own, at its usual interval of 10 s. Each run lets one more server breach
a rule of 20 s, and measures from the commit of the sample that completes the window to the
request's arrival. Asked for: at most the evaluation interval + 1 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.fernet import Fernet

from alerting import channels
from bench import databases
from storage import database, engines, secrets

INTERVAL_S = 10.0
SAMPLE_S = 10.0
FOR_S = 20
ALLOWED_S = INTERVAL_S + 1.0
WAIT_MAX_S = 60.0


@dataclass
class Receiver:
    """A webhook's other side: notes when a request that names a server arrived."""

    arrived: dict[str, float] = field(default_factory=dict[str, float])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request and say 204."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        told = json.loads(await reader.readexactly(length))
        for each in (told, *told["members"]):
            self.arrived.setdefault(str(each["server"]), time.monotonic())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


async def prepare(connection: database.Connection, servers: int, box: secrets.SecretBox) -> int:
    """Make servers, one rule, and a channel to the receiver's port, which is returned."""
    port = databases.free_port()
    await engines.by_name("postgres").maintain(connection, datetime.now(UTC))
    await connection.execute(
        "INSERT INTO server (name, watch_offline, status, last_seen, machine_id)"
        " SELECT 'server-' || n, true, 'online', now(), 'm' || n"
        " FROM generate_series(1, $1::int) n",
        servers,
    )
    await connection.execute(
        "INSERT INTO family_interval (server_id, family, interval_s)"
        " SELECT id, 'cpu', $1 FROM server",
        SAMPLE_S,
    )
    await connection.execute(
        "UPDATE alert_rule SET levels = $1 WHERE name = 'cpu_usage'",
        [{"severity": "warning", "threshold": 80, "for_s": FOR_S}],
    )
    url = f"http://127.0.0.1:{port}/hook"
    hook = channels.StoredChannel(name="hook", kind="webhook", config={}, secret=box.encrypt(url))
    await channels.add(connection, hook)
    return port


async def sample(connection: database.Connection, breaching: list[str]) -> float:
    """Store one sample of every server; return when it was committed."""
    async with connection.transaction():
        await connection.execute("UPDATE server SET last_seen = now()")
        await connection.execute(
            "INSERT INTO cpu (time, server_id, usage_percent, load1_per_core)"
            " SELECT now(), id, CASE WHEN name = ANY($1::text[]) THEN 95 ELSE 20 END, 0"
            " FROM server",
            breaching,
        )
    return time.monotonic()


async def measure(dsn: str, servers: int, runs: int) -> list[float]:
    """Return the delays in seconds."""
    key = Fernet.generate_key().decode()
    connection = await database.connect(dsn, "bench", statement_timeout_s=60)
    receiver = Receiver()
    port = await prepare(connection, servers, secrets.SecretBox(key))
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", port)
    with tempfile.TemporaryDirectory() as data_dir:
        environment = os.environ | {
            "HOSTPULSE_DATABASE_URL": dsn,
            "HOSTPULSE_SECRET_KEY": key,
            "HOSTPULSE_DATA_DIR": data_dir,
        }
        worker = subprocess.Popen(
            [sys.executable, "-m", "alerting"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return await _runs(connection, receiver, servers, runs)
        finally:
            worker.terminate()
            worker.wait(timeout=15)
            server.close()
            await connection.close()


async def _runs(
    connection: database.Connection, receiver: Receiver, servers: int, runs: int
) -> list[float]:
    """Let one server after the other breach, each a tick after the one before."""
    order = random.Random(5).sample(range(1, servers + 1), runs)
    names = [f"server-{n}" for n in order]
    due: dict[str, float] = {}
    ticks_needed = round(FOR_S / SAMPLE_S)
    for tick in range(runs + ticks_needed + 1):
        started = time.monotonic()
        at = await sample(connection, names[: tick + 1])
        if 0 <= (complete := tick - ticks_needed) < runs:
            due[names[complete]] = at
        # Any phase between ticks and the worker's cycles may be met; two ticks last FOR_S, one not.
        tick_s = SAMPLE_S + random.Random(tick).uniform(0.0, 0.95 * SAMPLE_S)
        await asyncio.sleep(tick_s - (time.monotonic() - started))
    until = time.monotonic() + WAIT_MAX_S
    while len(receiver.arrived.keys() & due.keys()) < runs and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return [receiver.arrived.get(name, float("inf")) - at for name, at in due.items()]


def main() -> int:
    """Run the benchmark; 1 where a request came too late."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", type=int, nargs="?", default=1000)
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    with databases.embedded() as dsn:
        delays = asyncio.run(measure(dsn, given.servers, given.runs))
    ordered = sorted(delays)
    print(
        f"{given.servers} servers, {len(delays)} runs: from the commit of the last sample of the"
        f" window to the request {ordered[0]:.2f} s at least, {ordered[len(ordered) // 2]:.2f} s"
        f" in the middle, {ordered[-1]:.2f} s at most; allowed {ALLOWED_S:g} s"
    )
    return int(ordered[-1] > ALLOWED_S)


if __name__ == "__main__":
    sys.exit(main())
