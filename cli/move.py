"""`hostpulse db move`: copy the database into another one."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.connection import actor, database_url
from migrations import run
from storage import database, moving

STATEMENT_TIMEOUT_S = 3600.0  # a refresh of a week of samples is one statement


async def _move(to: str) -> int:
    """Move, showing how far it is; return the rows copied."""
    source = await database.connect(database_url(), "move", statement_timeout_s=STATEMENT_TIMEOUT_S)
    target = await database.connect(to, "move", statement_timeout_s=STATEMENT_TIMEOUT_S)
    rows = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns) as bar:
            task = bar.add_task("moving", total=None)
            async for step in moving.move(source, target, by=actor()):
                rows += step.rows
                bar.update(task, description=step.step, completed=step.number, total=step.of)
    finally:
        await source.close(timeout=database.CONNECT_TIMEOUT_S)
        await target.close(timeout=database.CONNECT_TIMEOUT_S)
    return rows


def move(
    to: Annotated[str, typer.Option(help="DSN of the new database; made where it is missing.")],
) -> None:
    """Copy everything into another database, which may have the other engine.

    Stop gateways and alert workers first; agents keep their samples meanwhile. Interrupt it at any
    time: the same command goes on where it was.
    """
    asyncio.run(database.create_if_missing(to))
    run.upgrade(to)
    rows = asyncio.run(_move(to))
    print(f"moved {rows} rows; now start everything with HOSTPULSE_DATABASE_URL set to the new one")
