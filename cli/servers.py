"""`hostpulse server`: which servers are watched, and what is known of them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import actor, with_connection
from hostpulse.errors import ConfigError
from storage import enrollments, labelling, servers

if TYPE_CHECKING:
    from storage.database import Connection

servers_app = typer.Typer(help="The servers that are watched.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
COLOURS = {
    servers.Status.ONLINE: "green",
    servers.Status.OFFLINE: "red",
    servers.Status.STOPPED: "yellow",
    servers.Status.NEW: "dim",
}


@servers_app.command("list")
def list_servers(*, as_json: AsJson = False) -> None:
    """List all servers by name."""
    found = asyncio.run(with_connection(servers.list_all))
    if as_json:
        print(json.dumps([describe(server) for server in found]))
        return
    table = Table("server", "status", "last seen", "agent", "labels")
    now = datetime.now(UTC)
    for server in found:
        table.add_row(
            escape(server.name),
            f"[{COLOURS[server.status]}]{server.status}[/]",
            ago(server.last_seen, now=now),
            escape(server.agent_version or ""),
            escape(", ".join(f"{name}={value}" for name, value in server.labels.items())),
        )
    Console().print(table)


@servers_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The server's name.")], *, as_json: AsJson = False
) -> None:
    """Show what is known of a server."""

    async def find(connection: Connection) -> servers.Server | None:
        return await servers.find(connection, name)

    server = asyncio.run(with_connection(find))
    if server is None:
        raise typer.BadParameter(f"expected the name of a server, got {name!r}")
    described = describe(server)
    if as_json:
        print(json.dumps(described))
        return
    table = Table(show_header=False)
    facts = {name: value for name, value in server.facts.items() if value is not None}
    for key, value in ({**described, "facts": None} | facts).items():
        if value not in (None, {}):
            shown = json.dumps(value) if isinstance(value, dict) else str(value)
            table.add_row(key, escape(shown))
    Console().print(table)


@servers_app.command("label")
def label(
    name: Annotated[str, typer.Argument(help="The server's name.")],
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="KEY- takes a label away.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Set labels of a server; rules, silences and config choose servers by them."""
    wanted = dict(_change(each) for each in changes)

    async def change(connection: Connection) -> dict[str, str] | None:
        return await labelling.label(connection, name, wanted, labelled_by=actor())

    after = asyncio.run(with_connection(change))
    if after is None:
        raise typer.BadParameter(f"expected the name of a server, got {name!r}")
    if as_json:
        print(json.dumps(after))
        return
    print(f"{name}: {', '.join(f'{k}={v}' for k, v in after.items()) or 'no labels'}")


def _change(text: str) -> tuple[str, str | None]:
    """Read `KEY=VALUE`, or `KEY-`."""
    key, separator, value = text.partition("=")
    if separator:
        return key, value
    if not text.endswith("-"):
        raise ConfigError("label", expectation="KEY=VALUE, or KEY- to take it away", value=text)
    return text[:-1], None


@servers_app.command("forget")
def forget(name: Annotated[str, typer.Argument(help="The server's name.")]) -> None:
    """Release a name from its machine, so that another one may take it; history stays."""

    async def release(connection: Connection) -> bool:
        return await servers.forget(connection, name, forgotten_by=actor())

    if not asyncio.run(with_connection(release)):
        raise typer.BadParameter(f"expected the name of a server, got {name!r}")
    print(f"{name} may be claimed by another machine; its history stays")


@servers_app.command("enrollments")
def list_enrollments(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the machines that ask for a name that is known, and wait for an admin."""
    found = asyncio.run(
        with_connection(lambda opened: enrollments.list_all(opened, everything=everything))
    )
    if as_json:
        print(json.dumps([enrollments.describe(each) for each in found]))
        return
    table = Table("number", "server", "machine", "address", "asked", "state")
    now = datetime.now(UTC)
    for each in found:
        table.add_row(
            str(each.id),
            escape(each.server_name),
            each.fingerprint,
            escape(each.address or ""),
            ago(each.asked_at, now=now),
            each.state + (f" by {escape(each.decided_by)}" if each.decided_by else ""),
        )
    Console().print(table)


Number = Annotated[int, typer.Argument(help="Of `hostpulse server enrollments`.")]


@servers_app.command("approve")
def approve(number: Number) -> None:
    """Let a machine have a name that is known; the former keys of the name end when it comes."""
    print(f"{_decide(number, approve=True)}: let in when it asks again")


@servers_app.command("deny")
def deny(number: Number) -> None:
    """Turn a machine away that asks for a name that is known."""
    print(f"{_decide(number, approve=False)}: turned away")


def _decide(number: int, *, approve: bool) -> str:
    """Answer a request; return the server and the machine.

    Raises:
        BadParameter: none of this number is pending.
    """

    async def answer(connection: Connection) -> enrollments.Enrollment:
        return await enrollments.decide(connection, number, approve=approve, decided_by=actor())

    try:
        decided = asyncio.run(with_connection(answer))
    except enrollments.UnknownEnrollment as error:
        raise typer.BadParameter(str(error)) from error
    return f"{decided.server_name}, machine {decided.fingerprint}"


def describe(server: servers.Server) -> dict[str, object]:
    """Return a server as JSON."""
    return {
        "name": server.name,
        "status": server.status,
        "status_reason": server.status_reason,
        "last_seen": _time(server.last_seen),
        "created_at": _time(server.created_at),
        "agent_version": server.agent_version,
        "labels": dict(server.labels),
        "watch_offline": server.watch_offline,
        "clock_offset_ms": server.clock_offset_ms,
        "clock_is_wrong": server.clock_is_wrong,
        "facts": {name: _time(value) or value for name, value in server.facts.items()},
    }


def ago(moment: datetime | None, *, now: datetime) -> str:
    """Say how long ago something was."""
    if moment is None:
        return "never"
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _time(value: object) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None
