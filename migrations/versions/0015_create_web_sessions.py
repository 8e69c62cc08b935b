"""Who is signed in to the web page, and the links that sign in."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create sessions and one-time links; both know hashes, never tokens."""
    for statement in (
        """
        CREATE TABLE web_session (
          token_sha256 bytea PRIMARY KEY,
          key_id integer NOT NULL REFERENCES api_key ON DELETE CASCADE,
          created_at timestamptz NOT NULL DEFAULT now(),
          last_used_at timestamptz NOT NULL DEFAULT now(),
          expires_at timestamptz NOT NULL,
          CHECK (created_at < expires_at)
        )
        """,
        "COMMENT ON COLUMN web_session.last_used_at IS 'to the minute; it ends 12 h after'",
        "CREATE INDEX web_session_expires_at ON web_session (expires_at)",
        """
        CREATE TABLE sign_in_link (
          token_sha256 bytea PRIMARY KEY,
          key_id integer NOT NULL REFERENCES api_key ON DELETE CASCADE,
          expires_at timestamptz NOT NULL
        )
        """,
        "COMMENT ON TABLE sign_in_link IS 'deleted when used'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Sign everybody out."""
    op.execute("DROP TABLE sign_in_link, web_session")
