"""Servers, their events and what the database knows about itself."""

from __future__ import annotations

from alembic import op

from storage import engines

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Record the engine once, then create what every other table refers to."""
    for statement in (
        "CREATE SCHEMA hostpulse_internal",
        """
        CREATE TABLE hostpulse_meta (
          key text PRIMARY KEY,
          value jsonb NOT NULL
        )
        """,
        """
        CREATE TABLE server (
          id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 253),
          machine_id text,
          boot_id uuid,
          agent_version text,
          hostname text,
          os_name text,
          os_version text,
          kernel_version text,
          architecture text,
          cpu_model text,
          cpu_cores_logical integer,
          cpu_cores_physical integer,
          memory_total_bytes bigint,
          boot_time timestamptz,
          python_version text,
          virtualization text,
          labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
          status text NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'online', 'stopped')),
          status_reason text,
          watch_offline boolean NOT NULL,
          created_at timestamptz NOT NULL DEFAULT now(),
          last_seen timestamptz,
          clock_offset_ms real,
          clock_is_wrong boolean NOT NULL DEFAULT false,
          config_revision bigint NOT NULL DEFAULT 0,
          session uuid,
          session_gateway text,
          session_since timestamptz
        ) WITH (fillfactor = 50)
        """,
        "COMMENT ON COLUMN server.session IS 'fencing token of the one live stream'",
        "COMMENT ON COLUMN server.watch_offline IS 'whether silence is an alert'",
        """
        CREATE TABLE family_interval (
          server_id integer NOT NULL,
          family text NOT NULL,
          interval_s real NOT NULL CHECK (interval_s > 0),
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (server_id, family)
        )
        """,
        """
        CREATE TABLE event (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          time timestamptz NOT NULL DEFAULT now(),
          server_id integer,
          kind text NOT NULL,
          detail jsonb NOT NULL DEFAULT '{}'
        )
        """,
        "CREATE INDEX event_server_time ON event (server_id, time DESC)",
        "CREATE TABLE setting (key text PRIMARY KEY, value jsonb NOT NULL)",
    ):
        op.execute(statement)
    engines.record(op.get_bind())


def downgrade() -> None:
    """Drop everything of the first migration."""
    op.execute("DROP TABLE setting, event, family_interval, server, hostpulse_meta")
    op.execute("DROP SCHEMA hostpulse_internal")
