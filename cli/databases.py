"""`hostpulse migrate`, `hostpulse db …`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import rich
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import database_url, with_connection
from cli.quantities import in_bytes
from cli.retention import retention_app
from migrations import run
from storage import database, maintenance, reader, retention, schema, status
from storage.errors import SchemaMismatch

databases_app = typer.Typer(help="The database: state, address, retention.", no_args_is_help=True)
databases_app.add_typer(retention_app, name="retention")

MILLION = 1_000_000
ROWS_TO_JUDGE = 1000  # with fewer, empty pages made ahead are most of the size


@databases_app.command("status")
def show_status(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show engine, version, sizes, policies, and what is due to be dropped."""
    found = asyncio.run(with_connection(_status))
    if as_json:
        print(json.dumps(_document(found), default=_plain))
    else:
        _show(found)


async def _status(connection: database.Connection) -> dict[str, Any]:
    """Collect what there is to say about a database; little, where it is not migrated."""
    found: dict[str, Any] = {
        "server_version": await connection.fetchval("SELECT current_setting('server_version')"),
        "schema_fits": "yes",
        "schema_needed": schema.SCHEMA,
        "schema_found": await _revision(connection),
        "bytes": await connection.fetchval("SELECT pg_database_size(current_database())"),
        "status": None,
    }
    try:
        await schema.check(connection)
    except SchemaMismatch as error:
        return found | {"schema_fits": str(error)}
    return found | {
        "maintenance_age_s": await maintenance.age_s(connection),
        "status": await status.collect(connection),
    }


async def _revision(connection: database.Connection) -> str | None:
    """Return the revision of the database; None before the first migration."""
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    return await connection.fetchval("SELECT version_num FROM alembic_version")


def _document(found: dict[str, Any]) -> dict[str, Any]:
    """Return what `--json` prints; times are ISO 8601, spans are seconds."""
    document = {key: value for key, value in found.items() if key != "status"}
    collected: status.Status | None = found["status"]
    if collected is None:
        return document | {"engine": None}
    software = collected.software
    return document | {
        **asdict(software),
        "retention": collected.retention.tiers,
        "rollup_lag_s": collected.rollup_lag_s,
        "sizes": [
            asdict(size)
            | {"total_bytes": size.total_bytes, "bytes_per_value": size.bytes_per_value}
            for size in collected.sizes
        ],
        "policies": [asdict(policy) for policy in collected.policies],
        "due": [asdict(each) for each in collected.due],
    }


def _plain(value: object) -> object:
    """Write times and spans into JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _show(found: dict[str, Any]) -> None:
    """Print it for people."""
    collected: status.Status | None = found["status"]
    if collected is not None:
        software = collected.software
        version = software.timescaledb_version
        edition = f"{software.edition}{f' {version}' if version else ''}"
        _line("engine", f"{software.engine} ({edition}, PostgreSQL {software.server_version})")
        if software.offers:
            _line(
                "offers",
                f"{software.offers}: `hostpulse db move --to URL` copies the history there",
            )
    else:
        _line("server", f"PostgreSQL {found['server_version']}")
    _line("schema", f"{found['schema_found']}, fits: {found['schema_fits']}")
    _line("size", in_bytes(found["bytes"]))
    if collected is None:
        return
    _line("retention", retention.describe(collected.retention))
    lag_s = collected.rollup_lag_s
    _line("rollup lag", "none yet" if lag_s is None else f"{lag_s:.0f} s")
    _show_sizes(collected)
    _show_policies(collected)
    for tier in collected.retention.tiers:
        own = [each for each in collected.due if each.tier == tier]
        first = [each for each in own if each.at == own[0].at]
        if first:
            size = in_bytes(sum(each.total_bytes for each in first))
            _line(
                "due to go",
                f"{tier} of {len(first)} relations up to {first[0].end:%Y-%m-%d %H:%M}, {size},"
                f" at {first[0].at:%Y-%m-%d %H:%M}",
            )


def _line(name: str, text: str) -> None:
    """Print one fact."""
    rich.print(f"[bold]{name}[/bold] {escape(text)}")


def _show_sizes(collected: status.Status) -> None:
    """Print what each table takes in each tier; what is empty is left out.

    It fits in 80 columns, which is what a pipe has; `--json` says heap, TOAST and imported history
    of each as well. Rows and bytes per value are without the latter.
    """
    table = Table("relation", "size", "index", "rows", "B/value", "compressed")
    for column in table.columns:
        column.no_wrap = True
    for size in collected.sizes:
        if not size.rows:
            continue
        per_value = size.bytes_per_value if size.rows >= ROWS_TO_JUDGE else None
        ratio = size.compression_ratio
        table.add_row(
            size.relation,
            in_bytes(size.total_bytes - size.archive_bytes),
            in_bytes(size.index_bytes),
            _in_rows(size.rows),
            f"{per_value:.1f}" if per_value else "",
            f"{ratio:.1f} : 1" if ratio else "",
        )
    rich.print(table)
    if imported := sum(size.archive_bytes for size in collected.sizes):
        rich.print(f"and history imported from another database, {in_bytes(imported)}")


def _in_rows(rows: int) -> str:
    """Write an estimate of rows."""
    return f"~{rows}" if rows < MILLION else f"~{rows / MILLION:.1f} M"


def _show_policies(collected: status.Status) -> None:
    """Print policies by kind, with those that failed one by one."""
    table = Table("policy", "of", "last run", "next run", "last status")
    for kind in dict.fromkeys(policy.kind for policy in collected.policies):
        own = [policy for policy in collected.policies if policy.kind == kind]
        failed = [p for p in own if p.last_status not in {"Success", "ok", None}]
        last = max((p.last_run for p in own if p.last_run), default=None)
        upcoming = min((p.next_run for p in own if p.next_run), default=None)
        table.add_row(
            kind,
            f"{len(own)} relations" if own[0].relation else "everything",
            f"{last:%Y-%m-%d %H:%M:%S}" if last else "never",
            f"{upcoming:%Y-%m-%d %H:%M:%S}" if upcoming else "",
            f"{len(failed)} failed" if failed else "ok" if last else "",
        )
        for policy in failed:
            table.add_row("", policy.relation or "", "", "", policy.last_status)
    rich.print(table)


@databases_app.command("url")
def url(
    *,
    for_readers: Annotated[
        bool, typer.Option("--reader", help="Of the role that may only read.")
    ] = False,
) -> None:
    """Print the DSN of the owner, or of hostpulse_reader; it holds the password."""
    owner = database_url()
    if not for_readers:
        print(owner)
        return

    async def ensure(connection: database.Connection) -> reader.Login:
        await schema.check(connection)
        return await reader.ensure(connection)

    print(asyncio.run(with_connection(ensure)).dsn(owner))


def migrate(
    revision: Annotated[str, typer.Option(help="Where to; `head` is the newest.")] = "head",
) -> None:
    """Bring the database to the schema of this version; safe to run again and at once."""
    dsn = database_url()
    with Console(stderr=True).status("migrating"):  # something that moves, on a terminal
        created = asyncio.run(database.create_if_missing(dsn))
        run.upgrade(dsn, revision)

    async def finish(connection: database.Connection) -> str | None:
        await maintenance.maintain(connection)
        try:
            await reader.ensure(connection)
        except reader.ReaderMissing:
            return "for a role that may only read, run `hostpulse db url --reader`"
        return None

    advice = asyncio.run(with_connection(finish)) if revision == "head" else None
    print(f"{'created and ' if created else ''}migrated to {run.head()}")
    if advice:
        print(advice)
