"""`hostpulse db retention`: how long each tier is kept."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.table import Table

from cli.connection import actor, with_connection
from cli.quantities import in_bytes
from hostpulse.errors import HostpulseError
from storage import audit, chunks, maintenance, retention, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.chunks import Chunk
    from storage.database import Connection
    from storage.retention import Retention

retention_app = typer.Typer(help="How long each tier is kept.", invoke_without_command=True)


class NotConfirmed(HostpulseError):
    """Nothing was changed."""


@retention_app.callback()
def show(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how long each tier is kept."""
    if context.invoked_subcommand is not None:
        return

    async def work(connection: Connection) -> Retention:
        await schema.check(connection)
        return await retention.read(connection)

    _print(asyncio.run(with_connection(work)), as_json=as_json)


@retention_app.command("set")
def change(
    tiers: Annotated[list[str], typer.Argument(help="raw=7d 1m=30d 1h=1y, any of them.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before dropping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Keep tiers longer or shorter; what a shorter one would drop is shown and asked about."""

    async def work(connection: Connection) -> Retention:
        await schema.check(connection)
        before = await retention.read(connection)
        after = retention.change(before, tiers)
        doomed = retention.doomed(
            await chunks.find(connection), before=before, after=after, now=datetime.now(UTC)
        )
        if any(span < before.tiers[name] for name, span in after.tiers.items()) and not yes:
            await asyncio.to_thread(_ask, doomed)
        async with connection.transaction():
            await maintenance.keep_for(connection, after)
            await audit.record(
                connection,
                actor=actor(),
                action="retention.set",
                subject=None,
                allowed=True,
                detail={"before": retention.describe(before), "after": retention.describe(after)},
            )
        return after

    _print(asyncio.run(with_connection(work)), as_json=as_json)


def _ask(doomed: Sequence[Chunk]) -> None:
    """Say what would go, and have it confirmed.

    Raises:
        NotConfirmed: the answer was no, or there is nobody to ask.
    """
    if doomed:
        table = Table("relation", "rows (estimated)", "size", "from", "to")
        for relation in dict.fromkeys(chunk.relation for chunk in doomed):
            own = [chunk for chunk in doomed if chunk.relation == relation]
            table.add_row(
                relation,
                str(sum(chunk.rows for chunk in own)),
                in_bytes(sum(chunk.total_bytes for chunk in own)),
                f"{min(chunk.begin for chunk in own):%Y-%m-%d %H:%M}",
                f"{max(chunk.end for chunk in own):%Y-%m-%d %H:%M}",
            )
        rich.print(table, file=sys.stderr)
    rows = sum(chunk.rows for chunk in doomed)
    size = in_bytes(sum(chunk.total_bytes for chunk in doomed))
    sys.stderr.write(f"This drops about {rows} rows ({size}) for good, within the hour.\n")
    if not sys.stdin.isatty():
        raise NotConfirmed("nothing was changed: a shorter retention needs --yes here")
    if not typer.confirm("Drop them?", err=True):
        raise NotConfirmed


def _print(kept: Retention, *, as_json: bool) -> None:
    """Show what is in force."""
    if as_json:
        print(json.dumps({f"{name}_s": span.total_seconds() for name, span in kept.tiers.items()}))
    else:
        print(retention.describe(kept))
