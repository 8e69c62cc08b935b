"""The interval before the one in force: samples from before a change are judged by it, too."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the former interval."""
    for statement in (
        "ALTER TABLE family_interval ADD former_s real CHECK (former_s > 0)",
        "COMMENT ON COLUMN family_interval.former_s IS"
        " 'the longest that was in force within the day before the change'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE family_interval DROP former_s")
