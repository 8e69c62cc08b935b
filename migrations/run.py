"""Bring a database to a revision of the schema, or say which one it has."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def _config(dsn: str) -> Config:
    """Make alembic's configuration without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["dsn"] = dsn
    return config


def upgrade(dsn: str, revision: str = "head") -> None:
    """Migrate up to `revision`; does nothing where the database is there already.

    Blocks; must not be called from a running event loop. Safe to run from several processes.
    """
    command.upgrade(_config(dsn), revision)


def downgrade(dsn: str, revision: str) -> None:
    """Migrate down to `revision` (`base` is an empty database). Blocks, like `upgrade`."""
    command.downgrade(_config(dsn), revision)


def head() -> str:
    """Return the newest revision in this code, e.g. `0004`."""
    found = ScriptDirectory.from_config(_config("")).get_current_head()
    if found is None:
        raise RuntimeError("there are no migrations")
    return found
