"""`hostpulse top` on a screen of 80 x 24, with a clock that stands still and a seeded database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage import engines, reader
from tests.integration.terminal.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from storage.database import Connection

NOON = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)
HERE = Path(__file__).parent
PROGRAM = [sys.executable, str(HERE / "fixed_top.py"), NOON.isoformat()]
CHECKOUT = HERE.parents[2]
GIB, MIB = 1 << 30, 1 << 20
CLEAR = "\x1b[?1049l"  # the screen from before comes back


async def put(connection: Connection, table: str, server_id: int, **values: object) -> None:
    """Store a sample of five seconds ago."""
    names = ["time", "server_id", *values]
    row = (NOON - timedelta(seconds=5), server_id, *values.values())
    await connection.copy_records_to_table(table, records=[row], columns=names)


async def seed(connection: Connection) -> None:
    """Have five servers: one in order, one in trouble, one silent, one stopped, one never heard."""
    await (await engines.of(connection)).maintain(connection, NOON)
    names = ("web-01", "db-01.example.org", "cache-01", "old-01", "new-01")
    for name, status, seen in zip(
        names,
        ("online", "online", "online", "stopped", "new"),
        (5, 5, 300, 86_400 * 3, None),
        strict=True,
    ):
        await connection.execute(
            "INSERT INTO server (name, status, last_seen, watch_offline) VALUES ($1, $2, $3, true)",
            name,
            status,
            None if seen is None else NOON - timedelta(seconds=seen),
        )
    for server_id, usage in ((1, 23.5), (2, 96.0)):
        await put(
            connection,
            "cpu",
            server_id,
            usage_percent=usage,
            user_percent=usage - 5,
            system_percent=4.0,
            iowait_percent=1.0,
            load1=usage / 10,
            load5=1.5,
            load15=1.25,
            core_usage_percent=[usage, usage - 10, None, 85.0],
        )
        await put(
            connection,
            "memory",
            server_id,
            total_bytes=16 * GIB,
            used_bytes=int(13.6 * GIB),
            used_percent=85.0,
            available_bytes=int(2.4 * GIB),
            swap_total_bytes=2 * GIB,
            swap_used_bytes=0,
            swap_used_percent=0.0,
        )
        for mount, used in (("/", 45.0), ("/var/lib/postgresql", 92.5)):
            await put(
                connection,
                "disk_usage",
                server_id,
                mount=mount,
                total_bytes=100 * GIB,
                free_bytes=int(100 - used) * GIB,
                used_percent=used,
                inodes_used_percent=3.0,
            )
        await put(
            connection,
            "disk_io",
            server_id,
            device="nvme0n1",
            read_bytes_per_s=1.5 * MIB,
            write_bytes_per_s=300.0 * 1024,
            reads_per_s=12.0,
            writes_per_s=40.0,
            await_ms=0.8,
            utilization_percent=7.0,
        )
        for interface, rate in (("eth0", 2.0 * MIB), ("lo", 1024.0)):
            await put(
                connection,
                "network",
                server_id,
                interface=interface,
                rx_bytes_per_s=rate,
                tx_bytes_per_s=rate / 2,
                packet_loss_percent=0.25,
                rx_errors_per_s=0.0,
                tx_errors_per_s=0.0,
            )
        for number in range(1, 11):
            await put(
                connection,
                "process",
                server_id,
                pid=1000 + number,
                name=f"worker-{number}[x]",  # brackets are no markup
                username="www",
                cpu_percent=100.0 / number,
                memory_rss_bytes=number * 100 * MIB,
                cpu_rank=number,
                memory_rank=11 - number,
            )
    await connection.execute(
        "INSERT INTO alert (rule_id, server_id, labels, state, severity, fired_at)"
        " SELECT id, 2, '{}', 'firing', 'critical', $1 FROM alert_rule WHERE name = 'cpu_usage'",
        NOON,
    )


@pytest.fixture
async def seeded(connection: Connection, database: str) -> dict[str, str]:
    """Return the environment of a command that reads a seeded database."""
    await seed(connection)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "HOSTPULSE_DATABASE_URL": database,
        "PYTHONPATH": str(CHECKOUT),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }


@pytest.fixture
def start(seeded: dict[str, str]) -> Generator[Callable[..., Terminal]]:
    """Start it in a terminal."""
    running: list[Terminal] = []

    def make(*arguments: str, lines: int = 24, **environment: str) -> Terminal:
        running.append(Terminal([*PROGRAM, *arguments], seeded | environment, lines=lines))
        return running[-1]

    yield make
    for each in running:
        each.close()


def golden(name: str, text: str) -> None:
    """Compare with the file that people looked at; GOLDEN=write makes it."""
    file = HERE / "golden" / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(text, "utf-8")
    assert text == file.read_text("utf-8")


def test_the_fleet_is_shown_the_worst_first(start: Callable[..., Terminal]) -> None:
    terminal = start()
    golden("fleet.txt", terminal.until(lambda text: "q quit" in text))
    assert terminal.styles()

    terminal.type("q")
    assert terminal.end() == 0
    assert CLEAR in terminal.raw.decode()


def _names(text: str) -> list[str]:
    """Return the servers that a screen shows, which may be read while it is being drawn."""
    return [line.split()[0] for line in text.splitlines()[3:8] if line.split()]


def test_keys_sort_the_fleet(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until(lambda text: "sorted by state" in text)

    terminal.type("n")
    by_name = ["cache-01", "db-01.example.org", "new-01", "old-01", "web-01"]
    terminal.until(lambda text: _names(text) == by_name)
    terminal.type("cq")
    assert terminal.end() == 0


def test_a_fleet_that_is_longer_than_the_screen_scrolls(start: Callable[..., Terminal]) -> None:
    terminal = start(lines=7)
    text = terminal.until(lambda text: "2 more below" in text)
    assert "cache-01" in text

    terminal.type("\x1b[B")
    text = terminal.until(lambda text: "1 more below" in text)
    assert "cache-01" not in text
    assert "q quit" in text
    terminal.type("\x1b[A")
    terminal.until(lambda text: "2 more below" in text)
    terminal.type("q")
    assert terminal.end() == 0


def test_one_server_is_shown_in_detail(start: Callable[..., Terminal]) -> None:
    terminal = start("db-01.example.org")
    golden("server.txt", terminal.until(lambda text: "q quit" in text))

    terminal.type("q")
    assert terminal.end() == 0


def test_no_color_is_obeyed(start: Callable[..., Terminal]) -> None:
    terminal = start(NO_COLOR="1")
    golden("fleet.txt", terminal.until(lambda text: "q quit" in text))
    assert terminal.styles() == set()


def test_ctrl_c_leaves_the_terminal_as_it_was(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.until(lambda text: "q quit" in text)
    terminal.type("\x03")
    assert terminal.end() == 0
    assert CLEAR in terminal.raw.decode()


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that writes into a pipe."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_in_a_pipe_it_is_shown_once_whole_and_plain(
    seeded: dict[str, str], connection: Connection, database: str
) -> None:
    login = await reader.ensure(connection)  # who may only read sees as much
    for dsn in (database, login.dsn(database)):
        done = run(seeded | {"HOSTPULSE_DATABASE_URL": dsn}, *PROGRAM[1:], "web-01")
        assert done.returncode == 0, done.stderr
        golden("piped.txt", done.stdout)
        assert "\x1b" not in done.stdout


async def test_programs_get_json(seeded: dict[str, str]) -> None:
    done = run(seeded, "-m", "cli", "top", "--json")
    assert done.returncode == 0, done.stderr
    assert {line["server"] for line in json.loads(done.stdout)} >= {"web-01", "new-01"}

    done = run(seeded, "-m", "cli", "top", "web-01", "--json")
    assert json.loads(done.stdout)["server"] == "web-01"


async def test_an_unknown_server_is_an_error_that_names_it(seeded: dict[str, str]) -> None:
    done = run(seeded, "-m", "cli", "top", "web-99", "--once")
    assert done.returncode == 2
    assert "expected the name of a server, got 'web-99'" in " ".join(done.stderr.split())
