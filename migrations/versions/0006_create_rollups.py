"""Rollups by the minute and by the hour, as the recorded engine keeps them."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from storage import engines
from storage.engines import rollup

revision = "0006"
down_revision = "0005"

TABLES = (
    "cpu",
    "memory",
    "disk_usage",
    "disk_io",
    "network",
    "tcp",
    "process",
    "pressure",
    "custom",
    "agent_health",
)


def _rollups() -> list[rollup.Rollup]:
    """Return the rollups of the raw tables as they are in this database."""
    columns = text(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum"
    )
    connection = op.get_bind()
    return [
        rollup.of(
            table, [(row[0], row[1]) for row in connection.execute(columns, {"table": table})]
        )
        for table in TABLES
    ]


def upgrade() -> None:
    """Create our aggregates, then the tiers that use them."""
    for statement in rollup.FUNCTIONS:
        op.execute(statement)
    for statement in engines.recorded(op.get_bind()).create_rollups_sql(_rollups()):
        op.execute(statement)


def downgrade() -> None:
    """Drop all rollups: what is older than the raw samples is gone."""
    for statement in engines.recorded(op.get_bind()).drop_rollups_sql(_rollups()):
        op.execute(statement)
    for statement in rollup.DROP_FUNCTIONS:
        op.execute(statement)
