"""`hostpulse audit`: who did what, and what was denied."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import with_connection
from cli.loss import since_moment
from storage import audit

if TYPE_CHECKING:
    from storage.database import Connection

LIMIT = 100


def show_audit(
    *,
    since: Annotated[
        str | None, typer.Option(help="Only since then: 30m, 6h, 1d, or a time.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Only of this one, as shown.")] = None,
    action: Annotated[
        str | None, typer.Option(help="Only this, like key.create, or all of a noun, like key.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=audit.LIMIT_MAX, help="How many, of the newest.")
    ] = LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who did what, and what was denied; the newest comes last."""
    begins = since_moment(since)

    async def find(connection: Connection) -> list[audit.Entry]:
        return await audit.find(connection, since=begins, actor=actor, action=action, limit=limit)

    found = asyncio.run(with_connection(find))[::-1]
    if as_json:
        print(json.dumps([audit.describe(each) for each in found]))
        return
    table = Table("time", "actor", "action", "object", "", "address", "detail")
    for each in found:
        times = f" x{each.count}" if each.count > 1 else ""
        table.add_row(
            f"{each.time:%Y-%m-%d %H:%M:%S}",
            escape(each.actor),
            each.action,
            escape(each.object or ""),
            "" if each.allowed else f"[red]denied{times}[/]",
            escape(each.address or ""),
            escape(json.dumps(dict(each.detail), default=str)) if each.detail else "",
        )
    Console().print(table)
