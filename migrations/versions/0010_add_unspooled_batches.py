"""Whether an agent's spool is on disk: how many of its batches are in memory only."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column, without a default: compressed chunks take it as it is."""
    op.execute("ALTER TABLE agent_health ADD COLUMN unspooled_batches bigint")


def downgrade() -> None:
    """Drop it again."""
    op.execute("ALTER TABLE agent_health DROP COLUMN unspooled_batches")
