"""`hostpulse top`: what all servers do now, or one of them, for as long as somebody looks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import termios
import tty
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import asyncpg
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cli import screens
from cli.connection import with_connection
from storage import detail, overview
from storage.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from storage.database import Connection
    from storage.detail import Detail
    from storage.overview import Line

    Clock = Callable[[], datetime]

REFRESH_S = 2.0
REFRESH_LEAST_S = 0.5
FLEET_FRAME = 4  # lines around the servers: header, order, names of columns, keys
KEYS = "q quit  up/down scroll  sort: s state n name c cpu m memory d disk t traffic"
KEYS_OF_ONE = "q quit"
ARROWS = {"\x1b[A": -1, "\x1b[B": 1, "\x1b[5~": -10, "\x1b[6~": 10}


def top(
    server: Annotated[
        str | None, typer.Argument(help="One server's name; all if left out.")
    ] = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, once.")] = False,
    every: Annotated[
        float, typer.Option("--every", min=REFRESH_LEAST_S, help="Seconds between looks.")
    ] = REFRESH_S,
) -> None:
    """Show what servers do now: all of them, or one in detail. Where nobody looks on, once."""
    look(server, once=once, as_json=as_json, every_s=every)


def look(
    server: str | None,
    *,
    once: bool = False,
    as_json: bool = False,
    every_s: float = REFRESH_S,
    clock: Clock = lambda: datetime.now(UTC),
) -> None:
    """Do it, by some clock.

    Raises:
        BadParameter: there is no server of this name.
    """
    console = Console()

    async def work(connection: Connection) -> None:
        if as_json:
            print(json.dumps(await _document(connection, server, clock()), default=str))
        elif once or not (console.is_terminal and sys.stdin.isatty()):
            screen = Screen(server, console)
            await screen.read(connection, clock())
            console.print(screen.draw(whole=True))
        else:
            await _live(connection, Screen(server, console), console, every_s, clock)

    asyncio.run(with_connection(work))


class Screen:
    """What is shown, and how: changed by keys and by what the database says.

    Args:
        server: the one to show; None for all.
        console: whose size counts.
    """

    def __init__(self, server: str | None, console: Console) -> None:
        self.is_over = False
        self._server = server
        self._console = console
        self._sort = "s"
        self._first = 0
        self._lines: Sequence[Line] = ()
        self._detail: Detail | None = None
        self._now = datetime.fromtimestamp(0, UTC)

    async def read(self, connection: Connection, now: datetime) -> None:
        """Ask the database."""
        self._now = now
        if self._server is None:
            self._lines = await overview.read_lines(connection, at=now)
        else:
            self._detail = await _detail(connection, self._server, now)

    def press(self, key: str) -> None:
        """Do what a key stands for; others do nothing."""
        if key in ("q", "\x04"):  # Ctrl-D, too
            self.is_over = True
        elif key in screens.SORTS:
            self._sort, self._first = key, 0
        elif key in ARROWS:
            last = max(0, len(self._lines) - self._rows)
            self._first = min(max(0, self._first + ARROWS[key]), last)

    def draw(self, *, whole: bool = False) -> Group:
        """Return what to show: as much as there is room for, or all of it."""
        if self._detail is not None:
            height = None if whole else self._console.height - 1
            return screens.server(self._detail, now=self._now, height=height)
        return screens.fleet(
            self._lines,
            now=self._now,
            sort=self._sort,
            first=self._first,
            rows=None if whole else self._rows,
        )

    def framed(self) -> Group:
        """Return what to show with the keys below."""
        keys = KEYS if self._server is None else KEYS_OF_ONE
        return Group(self.draw(), Text(keys, style="dim", no_wrap=True, overflow="ellipsis"))

    @property
    def _rows(self) -> int:
        """Return how many servers fit."""
        return max(1, self._console.height - FLEET_FRAME)


async def _live(
    connection: Connection, screen: Screen, console: Console, every_s: float, clock: Clock
) -> None:
    """Show it until somebody has seen enough.

    Raises:
        DatabaseUnavailable: it went away.
    """
    pressed = asyncio.Event()

    def on_input() -> None:
        text = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        # Arrows come as one read; what else is typed ahead is taken letter by letter.
        for key in [text] if text in ARROWS else text or "q":
            screen.press(key)
        pressed.set()

    def on_interrupt() -> None:
        screen.press("q")
        pressed.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    with _keys(), Live(auto_refresh=False, screen=True, console=console) as live:
        loop.add_reader(sys.stdin.fileno(), on_input)
        try:
            while not screen.is_over:
                await screen.read(connection, clock())
                deadline = loop.time() + every_s
                while not screen.is_over and (left := deadline - loop.time()) > 0:
                    live.update(screen.framed(), refresh=True)
                    pressed.clear()
                    try:
                        await asyncio.wait_for(pressed.wait(), left)
                    except TimeoutError:
                        break
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError) as error:
            raise DatabaseUnavailable(f"the database went away: {error}") from error
        finally:
            loop.remove_reader(sys.stdin.fileno())
            loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _keys() -> Generator[None]:
    """Get keys one by one and unseen; the terminal is as it was afterwards."""
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield
    finally:
        termios.tcsetattr(file, termios.TCSADRAIN, before)


async def _document(connection: Connection, server: str | None, now: datetime) -> object:
    """Return what `--json` prints."""
    if server is None:
        return [_document_of(line) for line in await overview.read_lines(connection, at=now)]
    return asdict(await _detail(connection, server, now))


def _document_of(line: Line) -> dict[str, object]:
    """Return a server of the fleet as JSON."""
    values = {
        name: getattr(line, name)
        for name in (
            *("cpu_percent", "load1", "memory_percent", "disk_percent", "mount"),
            *("rx_bytes_per_s", "tx_bytes_per_s"),
        )
    }
    return {
        "server": line.server.name,
        "state": line.state,
        "last_seen": line.server.last_seen,
        "alerts": len(line.firing),
        **values,
    }


async def _detail(connection: Connection, server: str, now: datetime) -> Detail:
    """Read one server.

    Raises:
        BadParameter: there is none of this name.
    """
    found = await detail.read(connection, server, at=now)
    if found is None:
        raise typer.BadParameter(f"expected the name of a server, got {server!r}")
    return found
