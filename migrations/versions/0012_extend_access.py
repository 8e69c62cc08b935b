"""Access: rotation, enrolment, keys that end at once, an audit log that can't be edited."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Extend keys, add enrolments, and guard the audit log."""
    for statement in (
        # A token that makes keys is a key of a role of its own, with uses to be counted down.
        """
        ALTER TABLE api_key
          DROP CONSTRAINT api_key_role_check,
          ADD CONSTRAINT api_key_role_check
            CHECK (role IN ('admin', 'reader', 'agent', 'writer', 'enroll')),
          ADD replaces text,
          ADD uses_left integer CHECK (uses_left >= 0),
          ADD CONSTRAINT api_key_token_check
            CHECK (CASE role WHEN 'enroll' THEN uses_left IS NOT NULL AND expires_at IS NOT NULL
                             ELSE uses_left IS NULL END)
        """,
        "COMMENT ON COLUMN api_key.replaces IS 'prefix of the key that this one was rotated from'",
        "COMMENT ON COLUMN api_key.uses_left IS 'of an enrolment token: how many agents more'",
        # Gateways listen: a key that ends, ends on streams that are open, too.
        """
        CREATE FUNCTION hostpulse_internal.tell_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          PERFORM pg_notify('hostpulse_key', OLD.id::text);
          RETURN NULL;
        END $$
        """,
        """
        CREATE TRIGGER api_key_changed
          AFTER DELETE OR UPDATE OF revoked_at, expires_at, role, server_names ON api_key
          FOR EACH ROW EXECUTE FUNCTION hostpulse_internal.tell_key_change()
        """,
        """
        CREATE TABLE enrollment (
          id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          token_id integer NOT NULL,
          server_name text NOT NULL,
          machine_id text NOT NULL,
          fingerprint text NOT NULL,
          agent_version text NOT NULL,
          address text,
          state text NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'enrolled')),
          requested_at timestamptz NOT NULL DEFAULT now(),
          asked_at timestamptz NOT NULL DEFAULT now(),
          decided_at timestamptz,
          decided_by text,
          key_id integer,
          UNIQUE (token_id, server_name, machine_id)
        )
        """,
        "COMMENT ON TABLE enrollment IS 'agents that asked for a key with a token'",
        "ALTER TABLE audit ADD count integer NOT NULL DEFAULT 1 CHECK (count > 0)",
        "COMMENT ON COLUMN audit.count IS 'how many denied attempts this row stands for'",
        # Retention is the one thing that may take rows away: what is older than a year.
        """
        CREATE FUNCTION hostpulse_internal.keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF TG_OP = 'DELETE' THEN
            IF OLD.time < now() - interval '1 year' THEN
              RETURN OLD;
            END IF;
          END IF;
          RAISE EXCEPTION 'the audit log is append-only: % is refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
        END $$
        """,
        """
        CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON audit
          FOR EACH ROW EXECUTE FUNCTION hostpulse_internal.keep_audit()
        """,
        """
        CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit
          FOR EACH STATEMENT EXECUTE FUNCTION hostpulse_internal.keep_audit()
        """,
        # Also in sessions that have turned ordinary triggers off (session_replication_role).
        "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_rows_stay",
        "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_stays",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Take it away; tokens go, because the older schema has no role for them."""
    for statement in (
        "DROP TRIGGER audit_rows_stay ON audit",
        "DROP TRIGGER audit_stays ON audit",
        "DROP FUNCTION hostpulse_internal.keep_audit",
        "ALTER TABLE audit DROP count",
        "DROP TABLE enrollment",
        "DROP TRIGGER api_key_changed ON api_key",
        "DROP FUNCTION hostpulse_internal.tell_key_change",
        "DELETE FROM api_key WHERE role = 'enroll'",
        """
        ALTER TABLE api_key
          DROP CONSTRAINT api_key_token_check,
          DROP CONSTRAINT api_key_role_check,
          ADD CONSTRAINT api_key_role_check CHECK (role IN ('admin', 'reader', 'agent', 'writer')),
          DROP replaces,
          DROP uses_left
        """,
    ):
        op.execute(statement)
