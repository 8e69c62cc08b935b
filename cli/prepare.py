"""Make a database ready for the others: wait for it, migrate it, make keys. Run by `hostpulse up`.

A process of its own, so that what migrating needs does not stay in the supervisor's memory.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from typing import TYPE_CHECKING

import asyncpg

from cli.connection import database_url
from hostpulse.errors import ConfigError
from migrations import run
from storage import database, keys, location, maintenance
from storage.location import write_private

if TYPE_CHECKING:
    from pathlib import Path

    from storage.database import Connection

WAIT_S = 30.0
ADMIN_KEY_FILE = "admin.key"
AGENT_KEY_FILE = "agent.key"


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
        folder = location.data_dir()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await _ensure_key(connection, folder / ADMIN_KEY_FILE, keys.Role.ADMIN, [])
        await _ensure_key(connection, folder / AGENT_KEY_FILE, keys.Role.AGENT, [server_name])
    finally:
        await connection.close(timeout=database.CONNECT_TIMEOUT_S)


def main() -> int:
    """Prepare; 0 when all is ready, 2 with a sentence on stderr when it can't be."""
    server_name = sys.argv[1] if len(sys.argv) > 1 else socket.gethostname()
    try:
        dsn = database_url()
        asyncio.run(_wait_for_database(dsn))
        run.upgrade(dsn)
        asyncio.run(_make_ready(dsn, server_name))
    except (ConfigError, keys.InvalidKey) as error:
        sys.stderr.write(f"hostpulse up: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
