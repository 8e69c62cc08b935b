"""What alerting costs and what becomes of its messages, counted; ways to what has expired."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add counters and indexes."""
    for statement in (
        """
        ALTER TABLE alert_work
          ADD runs bigint NOT NULL DEFAULT 0,
          ADD spent_ms double precision NOT NULL DEFAULT 0,
          ADD rules integer,
          ADD findings integer
        """,
        "COMMENT ON COLUMN alert_work.spent_ms IS 'all runs together'",
        "COMMENT ON COLUMN alert_work.findings IS 'series that breached or are live'",
        """
        CREATE TABLE alert_send_count (
          kind text NOT NULL,
          outcome text NOT NULL CHECK (outcome IN ('sent', 'retry', 'failed')),
          sends bigint NOT NULL,
          PRIMARY KEY (kind, outcome)
        ) WITH (fillfactor = 50)
        """,
        "COMMENT ON TABLE alert_send_count IS 'attempts since ever, by the kind of channel'",
        "CREATE INDEX alert_history_server ON alert_history (server_id, id)",
        "CREATE INDEX posted_message_posted_at ON posted_message (posted_at)",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Forget the counts."""
    for statement in (
        "DROP INDEX posted_message_posted_at, alert_history_server",
        "DROP TABLE alert_send_count",
        "ALTER TABLE alert_work DROP runs, DROP spent_ms, DROP rules, DROP findings",
    ):
        op.execute(statement)
