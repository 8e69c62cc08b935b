"""`hostpulse loss`: what is missing of the samples that agents took, and why."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api import missing, times
from cli.connection import with_connection
from storage import losses, servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Connection

COLOURS = {
    losses.State.LOST: "red",
    losses.State.PARKED: "yellow",
    losses.State.PENDING: "dim",
}


def loss(
    server: Annotated[str | None, typer.Argument(help="A server's name; all without it.")] = None,
    *,
    since: Annotated[
        str | None, typer.Option(help="Only since then: 30m, 6h, 7d, or a time like 2026-02-02Z.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is missing, with its times and reasons; status 1 where something is lost."""
    moment = since_moment(since)

    async def ask(
        connection: Connection,
    ) -> tuple[Sequence[losses.Count], Sequence[losses.Loss]]:
        if server is not None and await servers.find_id(connection, server) is None:
            raise typer.BadParameter(f"expected the name of a server, got {server!r}")
        counts = await losses.count(connection, server, since=moment)
        return counts, await losses.find(connection, server, since=moment)

    counts, found = asyncio.run(with_connection(ask))
    if as_json:
        sums = [asdict(count) for count in counts]
        gaps = [{"server": gap.server, **missing.show(gap)} for gap in found]
        print(json.dumps({"servers": sums, "gaps": gaps}))
    else:
        _print(counts, found)
    if any(count.lost for count in counts):
        raise typer.Exit(1)


def _print(counts: Sequence[losses.Count], found: Sequence[losses.Loss]) -> None:
    console = Console()
    if found:
        table = Table("server", "state", "reason", "batches", "from", "to", "detail")
        for gap in found:
            table.add_row(
                escape(gap.server),
                f"[{COLOURS[gap.state]}]{gap.state}[/]",
                escape(gap.reason),
                str(gap.batches),
                _time(gap.from_time) or "unknown",
                _time(gap.to_time) or "unknown",
                escape(gap.detail or ""),
            )
        console.print(table)
    for count in counts:
        parts = [
            f"{number} {what}"
            for number, what in (
                (count.lost, "lost"),
                (count.parked, "parked (see `hostpulse doctor parked`)"),
                (count.pending, "not delivered yet"),
            )
            if number
        ]
        said = f"batches: {', '.join(parts)}" if parts else "nothing is missing"
        console.print(f"{escape(count.server)}: {said}", highlight=False)


def since_moment(text: str | None) -> datetime | None:
    """Read an age or a time."""
    if text is None:
        return None
    if (moment := times.parse_time(text)) is not None:
        return moment
    if (seconds := times.parse_step(text)) is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    raise typer.BadParameter(f"expected an age like 6h or {times.TIME}, got {text!r}")


def _time(moment: datetime | None) -> str | None:
    return times.format_time(moment) if moment else None
