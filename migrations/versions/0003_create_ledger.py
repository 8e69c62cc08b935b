"""What has been stored once and for all, what was given up, and what could not be stored."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the ledger and the tables of loss."""
    for statement in (
        """
        CREATE TABLE ingest_ledger (
          server_id integer NOT NULL,
          epoch bigint NOT NULL,
          committed int8multirange NOT NULL DEFAULT '{}',
          updated_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (server_id, epoch)
        ) WITH (fillfactor = 50)
        """,
        """
        CREATE TABLE ingest_gap (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          server_id integer NOT NULL,
          epoch bigint NOT NULL,
          seqs int8multirange NOT NULL,
          from_time timestamptz,
          to_time timestamptz,
          reason text NOT NULL,
          detail text,
          recorded_at timestamptz NOT NULL DEFAULT now()
        )
        """,
        "CREATE INDEX ingest_gap_server ON ingest_gap (server_id, epoch)",
        """
        CREATE TABLE dead_letter (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          parked_at timestamptz NOT NULL DEFAULT now(),
          server_id integer NOT NULL,
          epoch bigint NOT NULL,
          seq bigint NOT NULL,
          batch bytea NOT NULL,
          sqlstate text,
          error text NOT NULL,
          replayed_at timestamptz
        )
        """,
        "CREATE INDEX dead_letter_parked_at ON dead_letter (parked_at)",
        """
        CREATE TABLE late_arrival (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          server_id integer NOT NULL,
          family text NOT NULL,
          from_time timestamptz NOT NULL,
          to_time timestamptz NOT NULL,
          learned_at timestamptz NOT NULL DEFAULT now(),
          evaluated_at timestamptz
        )
        """,
        "CREATE INDEX late_arrival_learned_at ON late_arrival (learned_at)",
        """
        CREATE TABLE http_request (
          server_id integer NOT NULL,
          idempotency_key text NOT NULL,
          body_sha256 bytea NOT NULL,
          status integer NOT NULL,
          response jsonb NOT NULL,
          received_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (server_id, idempotency_key)
        )
        """,
        "CREATE INDEX http_request_received_at ON http_request (received_at)",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop the ledger."""
    op.execute("DROP TABLE http_request, late_arrival, dead_letter, ingest_gap, ingest_ledger")
