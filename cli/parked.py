"""`hostpulse doctor parked` and `replay`: batches that the database refused."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import asyncpg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import actor, with_connection
from collector_gateway import rows
from collector_gateway.replay import replay as replay_batch
from hostpulse.v1 import telemetry_pb2 as pb
from storage import audit, parked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.database import Connection

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_parked(*, as_json: AsJson = False) -> None:
    """List the batches that the database refused and that are kept for 30 days."""
    found = asyncio.run(with_connection(parked.find))
    if as_json:
        print(json.dumps([_describe(each) for each in found]))
        return
    if not found:
        print("nothing is parked")
        return
    table = Table("id", "server", "parked", "samples", "sqlstate", "error")
    for each in found:
        described = _describe(each)
        table.add_row(
            str(each.id),
            escape(each.server or str(each.server_id)),
            each.parked_at.isoformat(timespec="seconds"),
            str(described["samples"]),
            each.sqlstate or "",
            escape(each.error),
        )
    Console().print(table)
    print("mend the cause, then: hostpulse doctor replay --all")


def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Of `doctor parked`.")] = None,
    *,
    replay_all: Annotated[bool, typer.Option("--all", help="All that are parked.")] = False,
) -> None:
    """Store parked batches after all; status 1 where the database refuses one still."""
    if bool(ids) == replay_all:
        raise typer.BadParameter("expected ids of parked batches, or --all")
    wanted = set(ids or ())

    async def store(connection: Connection) -> int:
        found = await parked.find(connection)
        if unknown := wanted - {each.id for each in found}:
            raise typer.BadParameter(f"expected ids of `doctor parked`, got {sorted(unknown)}")
        chosen = [each for each in found if replay_all or each.id in wanted]
        return await _replay(connection, chosen)

    if asyncio.run(with_connection(store)):
        raise typer.Exit(1)


async def _replay(connection: Connection, chosen: Sequence[parked.Parked]) -> int:
    """Store batches one by one; return how many are still refused."""
    refused = 0
    for each in chosen:
        name = f"{each.id} of {each.server or each.server_id}"
        try:
            outcome = await replay_batch(connection, each)
        except asyncpg.PostgresError as error:
            refused += 1
            print(f"{name}: still refused: {error}")
        else:
            print(f"{name}: {outcome}")
    await audit.record(
        connection,
        actor=actor(),
        action="parked.replay",
        subject=None,
        allowed=True,
        detail={"ids": [each.id for each in chosen], "refused": refused},
    )
    return refused


def _describe(each: parked.Parked) -> dict[str, object]:
    """Return a parked batch as JSON."""
    return {
        "id": each.id,
        "server": each.server,
        "parked_at": each.parked_at.isoformat(),
        "epoch": str(each.epoch),
        "seq": each.seq,
        "samples": rows.count_samples(pb.StreamRequest.FromString(each.batch).batch),
        "bytes": len(each.batch),
        "sqlstate": each.sqlstate,
        "error": each.error,
    }
