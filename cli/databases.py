"""`hostpulse migrate`, `hostpulse db …`."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import rich
import typer
from rich.table import Table

from cli.connection import database_url, with_connection
from migrations import run
from storage import catalog, database, maintenance, schema
from storage.errors import SchemaMismatch

databases_app = typer.Typer(help="The database: state and address.", no_args_is_help=True)

SIZES = """
SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::bigint AS bytes,
       coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint AS rows
FROM pg_partition_tree($1) t JOIN pg_class c ON c.oid = t.relid
WHERE t.isleaf
"""


async def _status(connection: database.Connection) -> dict[str, object]:
    """Collect what there is to say about a database."""
    try:
        await schema.check(connection)
        fits = "yes"
    except SchemaMismatch as error:
        fits = str(error)
    meta = {}
    tables: dict[str, object] = {}
    age_s: float | None = None
    if await connection.fetchval("SELECT to_regclass('hostpulse_meta')"):
        meta = {
            row["key"]: row["value"]
            for row in await connection.fetch("SELECT key, value FROM hostpulse_meta")
        }
        for name in catalog.TABLES:
            row = await connection.fetchrow(SIZES, name)
            assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
            tables[name] = {"bytes": row["bytes"], "rows_estimated": row["rows"]}
        age_s = await maintenance.age_s(connection)
    return {
        "server_version": await connection.fetchval("SHOW server_version"),
        "engine": meta.get("engine"),
        "schema_fits": fits,
        "schema_needed": schema.SCHEMA,
        "schema_found": await _revision(connection),
        "maintenance_age_s": age_s,
        "bytes": await connection.fetchval("SELECT pg_database_size(current_database())"),
        "tables": tables,
    }


async def _revision(connection: database.Connection) -> str | None:
    """Return the revision of the database; None before the first migration."""
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    return await connection.fetchval("SELECT version_num FROM alembic_version")


@databases_app.command("status")
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show engine, version, sizes and maintenance."""
    found = asyncio.run(with_connection(_status))
    if as_json:
        print(json.dumps(found))
        return
    table = Table("table", "size", "rows (estimated)")
    sizes = found.pop("tables")
    for key, value in found.items():
        rich.print(f"[bold]{key}[/bold] {value}")
    assert isinstance(sizes, dict)  # noqa: S101 - made above
    for name, entry in sizes.items():
        table.add_row(str(name), f"{entry['bytes'] / 1e6:.1f} MB", str(entry["rows_estimated"]))
    rich.print(table)


@databases_app.command("url")
def url() -> None:
    """Print the DSN of the owner; it holds the password."""
    print(database_url())


def migrate(
    revision: Annotated[str, typer.Option(help="Where to; `head` is the newest.")] = "head",
) -> None:
    """Bring the database to the schema of this version; safe to run again and at once."""
    dsn = database_url()
    created = asyncio.run(database.create_if_missing(dsn))
    run.upgrade(dsn, revision)

    async def maintain(connection: database.Connection) -> None:
        await maintenance.maintain(connection)

    asyncio.run(with_connection(maintain))
    print(f"{'created and ' if created else ''}migrated to {run.head()}")
