"""Bring a database to a revision of the schema, or say which one it has.

Alembic is imported when it has something to do: it takes 17 MiB, and every process that runs from
the command line would have them, gateways too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config


def _config(dsn: str) -> Config:
    """Make alembic's configuration without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["dsn"] = dsn
    return config


def upgrade(dsn: str, revision: str = "head") -> None:
    """Migrate up to `revision`; does nothing where the database is there already.

    Blocks; must not be called from a running event loop. Safe to run from several processes.
    """
    from alembic import command

    command.upgrade(_config(dsn), revision)


def downgrade(dsn: str, revision: str) -> None:
    """Migrate down to `revision` (`base` is an empty database). Blocks, like `upgrade`."""
    from alembic import command

    command.downgrade(_config(dsn), revision)


def head() -> str:
    """Return the newest revision in this code, e.g. `0004`."""
    from alembic.script import ScriptDirectory

    found = ScriptDirectory.from_config(_config("")).get_current_head()
    if found is None:
        raise RuntimeError("there are no migrations")
    return found
