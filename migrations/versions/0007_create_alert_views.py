"""Alerts as people and dashboards may read them, without who is told and with what key."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the views; who may read them is granted by storage/reader.py."""
    for statement in (
        """
        CREATE VIEW alert_current AS
        SELECT a.id AS alert_id, r.name AS rule, r.metric, a.server_id, s.name AS server,
               a.labels, a.state, a.severity, a.value, a.run_started_at, a.fired_at,
               a.resolved_at, a.acknowledged_at, a.acknowledged_by, a.changed_at
        FROM alert a
        JOIN alert_rule r ON r.id = a.rule_id
        LEFT JOIN server s ON s.id = a.server_id
        """,
        "COMMENT ON VIEW alert_current IS 'one row for each series that was ever in trouble'",
        """
        CREATE VIEW alert_log AS
        SELECT h.id, h.time, h.alert_id, h.rule_name AS rule, h.server_id, s.name AS server,
               h.labels, h.change, h.from_state, h.to_state, h.severity, h.value
        FROM alert_history h
        LEFT JOIN server s ON s.id = h.server_id
        """,
        "COMMENT ON VIEW alert_log IS 'every change of every alert, for a year'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop the views."""
    op.execute("DROP VIEW alert_log, alert_current")
