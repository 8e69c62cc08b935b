"""Make all ready for the others: check settings, migrate, make keys. Run by `hostpulse up`.

A process of its own, so that what migrating needs does not stay in the supervisor's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import asyncpg

from agent import settings as agent_settings
from alerting import settings as alerting_settings
from cli import links
from cli.children import agent_environment
from cli.connection import database_url
from collector_gateway.settings import GatewaySettings
from hostpulse.errors import ConfigError
from migrations import run
from storage import database, keys, location, maintenance, reader, servers, settings, web_sessions
from storage.location import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from storage.database import Connection

WAIT_S = 30.0
PORT_MAX = 65_535
ADMIN_KEY_FILE = "admin.key"
AGENT_KEY_FILE = "agent.key"


def _check_server_settings(server_name: str) -> None:
    """Refuse what gateway or alerting would refuse, before anything is said to be ready.

    Raises:
        ConfigError: a setting is wrong, or an address is taken.
    """
    gateway = settings.load(GatewaySettings)
    alerting_settings.load()
    if gateway.tls_client_ca:
        raise ConfigError(
            "HOSTPULSE_TLS_CLIENT_CA",
            expectation="unset under `hostpulse up`, whose own agent has no certificate: start "
            "gateway, alerting and agent each by itself",
            value=gateway.tls_client_ca,
        )
    try:
        servers.check_name(server_name)
    except servers.InvalidName as error:
        raise ConfigError(
            "HOSTPULSE_SERVER_NAME", expectation=f"a name ({error})", value=server_name
        ) from error
    _check_address("HOSTPULSE_GRPC_LISTEN", gateway.grpc_listen)
    _check_address("HOSTPULSE_HTTP_LISTEN", gateway.http_listen)


def _check_agent_settings(server_name: str) -> None:
    """Refuse what the agent would refuse; its key file must be there.

    Raises:
        ConfigError: a setting is wrong.
    """
    changes = agent_environment(os.environ, data_dir=location.data_dir(), server_name=server_name)
    environment = {**os.environ, **changes}
    agent_settings.load([], {k: v for k, v in environment.items() if v is not None})


def _check_address(variable: str, address: str) -> None:
    """See that an address can be listened on: who else is there would answer for our gateway.

    Raises:
        ConfigError: it is taken or none of this machine.
    """
    host, _, port = address.rpartition(":")
    if not 1 <= int(port) <= PORT_MAX:
        raise ConfigError(variable, expectation=f"a port from 1 to {PORT_MAX}", value=address)
    with socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise ConfigError(
                variable, expectation=f"an address that is free ({error.strerror})", value=address
            ) from error


async def _wait_for_database(dsn: str) -> None:
    """Create the database, as soon as its server answers.

    Raises:
        ConfigError: it does not answer in time, or refuses us.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            await database.create_if_missing(dsn)
        except (
            OSError,
            asyncpg.CannotConnectNowError,
            asyncpg.ConnectionDoesNotExistError,
        ) as error:
            if time.monotonic() > deadline:
                raise ConfigError(
                    "HOSTPULSE_DATABASE_URL",
                    expectation=f"a database that answers within {WAIT_S:g} s",
                    value=dsn.rpartition("@")[2],
                ) from error
            await asyncio.sleep(0.1)
        except asyncpg.PostgresError as error:
            raise ConfigError(
                "HOSTPULSE_DATABASE_URL",
                expectation=f"a database that lets us in ({error})",
                value=dsn.rpartition("@")[2],
            ) from error
        except (asyncpg.InterfaceError, ValueError) as error:
            raise ConfigError(
                "HOSTPULSE_DATABASE_URL",
                expectation="postgresql://user:password@host:port/database",
                value=dsn.rpartition("@")[2],
            ) from error
        else:
            return


async def _ensure_key(
    connection: Connection, file: Path, role: keys.Role, server_names: list[str]
) -> None:
    """See that the file holds a key that this database knows; one that was revoked stays so."""
    plaintext = _read(file)
    if plaintext is None:
        plaintext = await keys.create(
            connection,
            role=role,
            server_names=server_names,
            note="made by hostpulse up",
            created_by="hostpulse up",
        )
        write_private(file, plaintext + "\n")
    else:
        await keys.adopt(
            connection,
            plaintext,
            role=role,
            server_names=server_names,
            note="made by hostpulse up",
            created_by="hostpulse up",
        )


def _read(file: Path) -> str | None:
    """Return the key in a file; None where there is no file."""
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


async def _make_ready(dsn: str, server_name: str) -> None:
    """Make partitions and keys."""
    connection = await database.connect(dsn, "prepare", statement_timeout_s=120.0)
    try:
        await maintenance.maintain(connection)
        with contextlib.suppress(reader.ReaderMissing):  # `hostpulse db url --reader` says more
            await reader.ensure(connection)
        folder = location.data_dir()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await _ensure_key(connection, folder / ADMIN_KEY_FILE, keys.Role.ADMIN, [])
        await _ensure_key(connection, folder / AGENT_KEY_FILE, keys.Role.AGENT, [server_name])
        if token := os.environ.get(links.VARIABLE):
            prefix = keys.prefix_of(_read(folder / ADMIN_KEY_FILE) or "")
            await web_sessions.add_link(
                connection, token, key_prefix=prefix or "", made_by="hostpulse up"
            )
    finally:
        await connection.close(timeout=database.CONNECT_TIMEOUT_S)


def main() -> int:
    """Prepare; 0 when all is ready, 2 with a sentence on stderr when it can't be."""
    server_name = sys.argv[1] if len(sys.argv) > 1 else socket.gethostname()
    try:
        _check_server_settings(server_name)
        dsn = database_url()
        asyncio.run(_wait_for_database(dsn))
        run.upgrade(dsn)
        asyncio.run(_make_ready(dsn, server_name))
        _check_agent_settings(server_name)
    except (ConfigError, keys.InvalidKey) as error:
        sys.stderr.write(f"hostpulse up: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
