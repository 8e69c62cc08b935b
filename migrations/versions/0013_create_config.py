"""The config of agents: what people set, what each server is to run, and what it answered."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the revisions of each scope, which are only ever added to, and what comes of them."""
    for statement in (
        """
        CREATE TABLE config_revision (
          revision bigint PRIMARY KEY,
          scope text NOT NULL CHECK (length(scope) BETWEEN 1 AND 1000),
          priority integer NOT NULL DEFAULT 0,
          fields jsonb NOT NULL CHECK (jsonb_typeof(fields) = 'object'),
          author text NOT NULL,
          time timestamptz NOT NULL DEFAULT now(),
          comment text
        )
        """,
        "CREATE INDEX config_revision_scope ON config_revision (scope, revision DESC)",
        "COMMENT ON TABLE config_revision IS 'the newest row of a scope is in force'",
        """
        CREATE TABLE server_config (
          server_id integer PRIMARY KEY,
          revision bigint NOT NULL,
          fields jsonb NOT NULL,
          sources jsonb NOT NULL,
          changed_at timestamptz NOT NULL DEFAULT now(),
          result_revision bigint,
          applied boolean,
          result_detail text,
          result_at timestamptz,
          CHECK ((result_revision IS NULL) = (applied IS NULL))
        ) WITH (fillfactor = 70)
        """,
        "COMMENT ON TABLE server_config IS 'all scopes merged for a server, and its answer'",
        "COMMENT ON COLUMN server_config.sources IS 'field to the revision that it comes from'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Forget all config."""
    op.execute("DROP TABLE server_config, config_revision")
