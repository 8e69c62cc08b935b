"""What came late, joined: one stretch for each server and clock hour that waits to be looked at."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

HOUR = "date_bin(INTERVAL '1 hour', from_time, TIMESTAMPTZ '2000-01-01 00:00:00+00')"


def upgrade() -> None:
    """Drop the family, which says nothing where a tick holds them all; nothing filled it before."""
    for statement in (
        "ALTER TABLE late_arrival DROP COLUMN family",
        f"""
        CREATE UNIQUE INDEX late_arrival_stretch ON late_arrival (server_id, ({HOUR}))
        WHERE evaluated_at IS NULL
        """,
        "COMMENT ON COLUMN late_arrival.learned_at IS 'when the newest sample of the stretch came'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Let every stretch stand for itself again, without its family."""
    op.execute("DROP INDEX late_arrival_stretch")
    op.execute("DELETE FROM late_arrival")  # what it had is not known, and it was looked at or not
    op.execute("ALTER TABLE late_arrival ADD COLUMN family text NOT NULL")
