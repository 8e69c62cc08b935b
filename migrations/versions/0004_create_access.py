"""Keys and the audit log."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create keys (hashed) and the append-only audit log."""
    for statement in (
        """
        CREATE TABLE api_key (
          id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          prefix text NOT NULL UNIQUE,
          key_sha256 bytea NOT NULL UNIQUE,
          role text NOT NULL CHECK (role IN ('admin', 'reader', 'agent', 'writer')),
          server_names text[] NOT NULL DEFAULT '{}',
          note text,
          created_at timestamptz NOT NULL DEFAULT now(),
          created_by text NOT NULL,
          expires_at timestamptz,
          last_used_at timestamptz,
          revoked_at timestamptz,
          CHECK (role NOT IN ('agent', 'writer') OR cardinality(server_names) > 0)
        )
        """,
        """
        CREATE TABLE audit (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          time timestamptz NOT NULL DEFAULT now(),
          actor text NOT NULL,
          action text NOT NULL,
          object text,
          allowed boolean NOT NULL,
          address text,
          detail jsonb NOT NULL DEFAULT '{}'
        )
        """,
        "CREATE INDEX audit_time ON audit (time DESC)",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop keys and audit."""
    op.execute("DROP TABLE audit, api_key")
