"""All commands but the agent's."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import alerts, channels, configs, databases, keys, rules, servers, silences
from cli.audit_log import show_audit
from cli.doctor import doctor_app
from cli.loss import loss
from cli.move import move
from cli.sign_in import sign_in
from cli.tls import tls_app
from cli.top import top
from hostpulse import __version__
from hostpulse.errors import HostpulseError

app = typer.Typer(
    help="Watches servers, keeps the history in PostgreSQL/TimescaleDB, and alerts in time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(databases.databases_app, name="db")
for name, group in (
    ("doctor", doctor_app),
    ("key", keys.keys_app),
    ("server", servers.servers_app),
    ("config", configs.configs_app),
    ("rule", rules.rules_app),
    ("channel", channels.channels_app),
    ("alert", alerts.alerts_app),
    ("silence", silences.silences_app),
    ("tls", tls_app),
):
    app.add_typer(group, name=name)
databases.databases_app.command("move")(move)
app.command("migrate")(databases.migrate)
app.command("loss")(loss)
app.command("sign-in")(sign_in)
app.command("top")(top)
app.command("audit")(show_audit)


@app.command()
def up() -> None:
    """Run database, gateway, alerting and agent on this machine, until Ctrl-C."""
    from cli import up as supervisor  # asyncio children only: the server's libraries stay out

    raise typer.Exit(supervisor.main())


@app.command()
def gateway(
    database_url: Annotated[str | None, typer.Option(help="DSN of the database.")] = None,
    grpc_listen: Annotated[str | None, typer.Option(help="host:port for agents.")] = None,
    http_listen: Annotated[str | None, typer.Option(help="host:port for the API.")] = None,
) -> None:
    """Run a gateway: takes agents' streams and serves the HTTP API."""
    from cli.gateway import main

    raise typer.Exit(
        main(database_url=database_url, grpc_listen=grpc_listen, http_listen=http_listen)
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def alerting(context: typer.Context) -> None:
    """Run an alert worker: evaluates rules and sends notifications."""
    from alerting.__main__ import main

    raise typer.Exit(main(context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def agent(context: typer.Context) -> None:
    """Run an agent: collects from this machine and streams to a gateway."""
    from agent.__main__ import main

    raise typer.Exit(main(context.args))


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def run() -> int:
    """Run a command; errors that a person can mend are one line and exit status 2."""
    try:
        app()
    except HostpulseError as error:
        sys.stderr.write(f"hostpulse: {error}\n")
        return 2
    return 0
