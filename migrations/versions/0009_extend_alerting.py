"""Alerts that people trust: silences that recur, who was told, leases for any number of workers."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what the pipeline remembers."""
    for statement in (
        """
        ALTER TABLE alert_rule
          ADD keep_firing_for_s integer NOT NULL DEFAULT 0 CHECK (keep_firing_for_s >= 0),
          ADD group_by text NOT NULL DEFAULT 'rule' CHECK (group_by IN ('none', 'rule', 'server')),
          ADD escalate_after_s integer CHECK (escalate_after_s >= 60),
          ADD escalate_channels text[] NOT NULL DEFAULT '{}',
          ADD CHECK (escalate_after_s IS NULL OR cardinality(escalate_channels) > 0)
        """,
        """
        ALTER TABLE alert
          ADD told_severity text CHECK (told_severity IN ('warning', 'critical')),
          ADD recovered_at timestamptz,
          ADD escalated_at timestamptz,
          ADD cause text,
          ADD flips timestamptz[] NOT NULL DEFAULT '{}',
          ADD flapping boolean NOT NULL DEFAULT false
        """,
        "COMMENT ON COLUMN alert.told_severity IS 'what people last heard; NULL: not announced'",
        "COMMENT ON COLUMN alert.recovered_at IS 'since when it is well, but held firing'",
        "COMMENT ON COLUMN alert.cause IS 'why there are no samples'",
        "COMMENT ON COLUMN alert.flips IS 'when it fired and was resolved in the last 30 minutes'",
        "UPDATE alert SET told_severity = severity WHERE notified_at IS NOT NULL",
        # One message may speak of many alerts; those of one queue go out in their order.
        """
        ALTER TABLE notification
          ADD queue text NOT NULL DEFAULT '', ADD alert_ids bigint[] NOT NULL DEFAULT '{}'
        """,
        "UPDATE notification SET queue = 'alert ' || alert_id, alert_ids = ARRAY[alert_id]",
        "DROP INDEX notification_order",
        """
        CREATE INDEX notification_order ON notification (channel, queue, id)
          WHERE state = 'pending'
        """,
        "CREATE INDEX notification_dedup_key ON notification (dedup_key)",
        "CREATE INDEX notification_alert ON notification (alert_id, id)",
        """
        CREATE TABLE posted_message (
          channel text NOT NULL,
          thread text NOT NULL,
          place jsonb NOT NULL,
          posted_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (channel, thread)
        )
        """,
        "COMMENT ON TABLE posted_message IS 'where a bot updates the message of a firing'",
        """
        ALTER TABLE silence
          ADD zone text,
          ADD weekdays integer[] NOT NULL DEFAULT '{}',
          ADD from_local time,
          ADD lasts_s integer CHECK (lasts_s BETWEEN 60 AND 604800),
          ADD ended_at timestamptz,
          ADD CHECK ((from_local IS NULL) = (zone IS NULL)
                     AND (from_local IS NULL) = (lasts_s IS NULL)
                     AND (from_local IS NULL) = (cardinality(weekdays) = 0))
        """,
        "COMMENT ON COLUMN silence.weekdays IS 'ISO: 1 is Monday; empty when it does not recur'",
        """
        CREATE TABLE inhibition (
          source_rule text NOT NULL,
          target_rule text NOT NULL,
          PRIMARY KEY (source_rule, target_rule),
          CHECK (source_rule <> target_rule)
        )
        """,
        "COMMENT ON COLUMN inhibition.target_rule IS 'muted on the same server; * is every other'",
        "INSERT INTO inhibition VALUES ('agent_offline', '*')",
        # What the workers share out among them: one row for each group of rules that is evaluated
        # together. A row is leased in a short transaction and freed with the results.
        """
        CREATE TABLE alert_work (
          key text PRIMARY KEY,
          worker uuid,
          leased_until timestamptz,
          due_at timestamptz NOT NULL DEFAULT now(),
          last_at timestamptz,
          took_ms double precision,
          servers integer,
          CHECK ((worker IS NULL) = (leased_until IS NULL))
        ) WITH (fillfactor = 50)
        """,
        """
        CREATE TABLE late_firing (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          learned_at timestamptz NOT NULL,
          rule_name text NOT NULL,
          server_id integer NOT NULL,
          labels jsonb NOT NULL,
          severity text NOT NULL,
          fired_at timestamptz NOT NULL,
          ended_at timestamptz,
          value double precision,
          UNIQUE (rule_name, server_id, labels, fired_at)
        )
        """,
        "COMMENT ON TABLE late_firing IS 'would have fired, had its samples come in time'",
        "CREATE INDEX late_firing_learned_at ON late_firing (learned_at)",
        """
        CREATE INDEX late_arrival_waiting ON late_arrival (learned_at) WHERE evaluated_at IS NULL
        """,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Forget what the pipeline remembered."""
    for statement in (
        "DROP INDEX late_arrival_waiting",
        "DROP TABLE late_firing, alert_work, inhibition, posted_message",
        """
        ALTER TABLE silence
          DROP zone, DROP weekdays, DROP from_local, DROP lasts_s, DROP ended_at
        """,
        "DROP INDEX notification_alert, notification_dedup_key, notification_order",
        "ALTER TABLE notification DROP queue, DROP alert_ids",
        """
        CREATE INDEX notification_order ON notification (alert_id, channel, id)
          WHERE state = 'pending'
        """,
        """
        ALTER TABLE alert
          DROP told_severity, DROP recovered_at, DROP escalated_at, DROP cause, DROP flips,
          DROP flapping
        """,
        """
        ALTER TABLE alert_rule
          DROP keep_firing_for_s, DROP group_by, DROP escalate_after_s, DROP escalate_channels
        """,
    ):
        op.execute(statement)
