"""`hostpulse config`: what agents are to run, who runs it, and changing it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.connection import actor, with_connection
from hostpulse.errors import ConfigError
from storage import config_fields, config_scopes, configs, server_configs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection
    from storage.server_configs import State

configs_app = typer.Typer(no_args_is_help=True, help="The config that is pushed to agents.")

LISTED_MAX = 50  # servers that do not follow

ScopeText = Annotated[
    str, typer.Argument(metavar="SCOPE", help="all, labels:key=value,... or server:NAME.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Comment = Annotated[str | None, typer.Option(help="Why; kept in the history.")]
COLOURS = {
    server_configs.Status.APPLIED: "green",
    server_configs.Status.REJECTED: "red",
    server_configs.Status.PENDING: "yellow",
    server_configs.Status.NONE: "dim",
}


@configs_app.command("set")
def set_fields(
    scope: ScopeText,
    fields: Annotated[
        list[str], typer.Argument(metavar="FIELD=VALUE...", help="FIELD=none takes a field back.")
    ],
    *,
    comment: Comment = None,
    priority: Annotated[
        int | None, typer.Option(help="Of a scope of labels: the higher one wins.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change fields of a scope; what is not given stays. Connected agents follow at once."""
    wanted = config_scopes.parse(scope)
    changes = dict(_assignment(each) for each in fields)

    def edit(before: Mapping[str, object]) -> dict[str, object]:
        return {k: v for k, v in {**before, **changes}.items() if v is not None}

    async def change(connection: Connection) -> configs.Revision:
        return await configs.change(
            connection, wanted, edit, author=actor(), comment=comment, priority=priority
        )

    _say(asyncio.run(with_connection(change)), as_json=as_json)


@configs_app.command("rollback")
def rollback(
    scope: ScopeText,
    *,
    to: Annotated[
        int | None, typer.Option(help="A revision of the scope; the one before, if not given.")
    ] = None,
    comment: Comment = None,
    as_json: AsJson = False,
) -> None:
    """Set a scope to what one of its revisions said, as a new revision."""
    wanted = config_scopes.parse(scope)

    async def change(connection: Connection) -> configs.Revision:
        return await configs.rollback(connection, wanted, author=actor(), to=to, comment=comment)

    _say(asyncio.run(with_connection(change)), as_json=as_json)


@configs_app.command("show")
def show(
    *,
    server: Annotated[
        str | None, typer.Option(help="What this server is to run, and where that comes from.")
    ] = None,
    servers: Annotated[bool, typer.Option("--servers", help="Also those that follow.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is set, and which agents run it."""
    if server is not None:
        _show_server(server, as_json=as_json)
        return

    async def read(connection: Connection) -> tuple[list[configs.Revision], list[State]]:
        return await server_configs.current(connection), await server_configs.states(connection)

    current, states = asyncio.run(with_connection(read))
    current.sort(key=lambda r: (r.scope.nearness, r.priority, str(r.scope)))
    if as_json:
        shown = [server_configs.shown(each) for each in states]
        scopes = [configs.shown(each) for each in current]
        print(json.dumps({"scopes": scopes, "servers": shown}))
        return
    console = Console()
    scopes_table = Table("scope", "priority", "revision", "fields", "by", "comment")
    for each in current:
        scopes_table.add_row(
            escape(str(each.scope)),
            str(each.priority) if each.scope.labels else "",
            str(each.revision),
            escape("\n".join(f"{k} = {_text(v)}" for k, v in each.fields.items())),
            escape(each.author),
            escape(each.comment or ""),
        )
    console.print(scopes_table)
    counts = [
        f"{sum(each.status is status for each in states)} {status}"
        for status in server_configs.Status
    ]
    console.print("servers: " + ", ".join(counts))
    follows = (server_configs.Status.APPLIED, server_configs.Status.NONE)
    listed = [each for each in states if servers or each.status not in follows]
    if listed:
        table = Table("server", "is to run", "runs", "status", "detail")
        for each in listed if servers else listed[:LISTED_MAX]:
            table.add_row(
                escape(each.server),
                str(each.revision),
                str(each.running),
                f"[{COLOURS[each.status]}]{each.status}[/]",
                escape(each.detail or ""),
            )
        console.print(table)


@configs_app.command("history")
def history(
    scope: ScopeText,
    *,
    limit: Annotated[int, typer.Option(min=1, max=configs.HISTORY_MAX)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the revisions of a scope, the newest first."""
    wanted = config_scopes.parse(scope)

    async def read(connection: Connection) -> list[configs.Revision]:
        return await configs.history(connection, wanted, limit=limit)

    found = asyncio.run(with_connection(read))
    if as_json:
        print(json.dumps([configs.shown(each) for each in found]))
        return
    table = Table("revision", "time", "by", "fields", "comment")
    for each in found:
        table.add_row(
            str(each.revision),
            f"{each.time:%Y-%m-%d %H:%M:%S}Z",
            escape(each.author),
            escape(", ".join(f"{k}={_text(v)}" for k, v in each.fields.items()) or "nothing"),
            escape(each.comment or ""),
        )
    Console().print(table)


@configs_app.command("diff")
def diff(
    scope: ScopeText,
    old: Annotated[int | None, typer.Argument(help="A revision; the one before.")] = None,
    new: Annotated[int | None, typer.Argument(help="A revision; the newest.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two revisions of a scope."""
    wanted = config_scopes.parse(scope)

    async def read(connection: Connection) -> tuple[Mapping[str, object], Mapping[str, object]]:
        newest = await configs.history(connection, wanted, limit=configs.HISTORY_MAX)
        after = newest[0] if newest else None
        if new is not None:
            after = await configs.find(connection, wanted, new)
        before = next((r for r in newest if after and r.revision < after.revision), None)
        if old is not None:
            before = await configs.find(connection, wanted, old)
        return (before.fields if before else {}, after.fields if after else {})

    before, after = asyncio.run(with_connection(read))
    changed = {
        name: {"from": before.get(name), "to": after.get(name)}
        for name in config_fields.FIELDS
        if before.get(name) != after.get(name)
    }
    if as_json:
        print(json.dumps(changed))
        return
    for name, values in changed.items():
        print(f"{name}: {_text(values['from'])} -> {_text(values['to'])}")
    if not changed:
        print("no difference")


def _show_server(name: str, *, as_json: bool) -> None:
    async def read(connection: Connection) -> State | None:
        return await server_configs.state(connection, name)

    state = asyncio.run(with_connection(read))
    if state is None:
        raise ConfigError("--server", expectation="the name of a server", value=name)
    if as_json:
        print(json.dumps(server_configs.shown(state)))
        return
    table = Table("field", "value", "from", "revision")
    for key, (value, scope, revision) in state.fields.items():
        table.add_row(key, escape(_text(value)), escape(scope), str(revision))
    console = Console()
    console.print(table)
    console.print(
        f"is to run revision {state.revision}, runs {state.running}: "
        f"[{COLOURS[state.status]}]{state.status}[/] {escape(state.detail or '')}"
    )


def _assignment(text: str) -> tuple[str, object]:
    """Read `FIELD=VALUE`; `FIELD=none` is None."""
    name, separator, value = text.partition("=")
    if not separator or name not in config_fields.FIELDS:
        expectation = f"FIELD=VALUE with any of {', '.join(config_fields.FIELDS)}"
        raise ConfigError("field", expectation=expectation, value=text)
    return name, None if value == "none" else config_fields.FIELDS[name].read(value)


def _text(value: object) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _say(made: configs.Revision, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(configs.shown(made)))
        return
    fields = ", ".join(f"{k}={_text(v)}" for k, v in made.fields.items()) or "nothing"
    print(f"revision {made.revision}: {made.scope} sets {fields}")
