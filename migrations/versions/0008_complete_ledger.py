"""What agents announced of each epoch, and a view of everything that is missing."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the epochs beside the ledger, and the view of loss."""
    for statement in (
        # Not columns of the ledger: opening a stream locks its server, a flush locks ledger rows
        # and then servers, and two that wait for each other in a circle would have to be broken.
        """
        CREATE TABLE ingest_epoch (
          server_id integer NOT NULL,
          epoch bigint NOT NULL,
          announced bigint NOT NULL DEFAULT 0,
          opened_at timestamptz NOT NULL DEFAULT now(),
          closed_at timestamptz,
          PRIMARY KEY (server_id, epoch)
        ) WITH (fillfactor = 50)
        """,
        "COMMENT ON COLUMN ingest_epoch.announced IS 'the last number that the agent gave out'",
        "COMMENT ON COLUMN ingest_epoch.closed_at IS"
        " 'since when the agent has had nothing of this epoch any more'",
        "CREATE INDEX ingest_epoch_closed_at ON ingest_epoch (closed_at)",
        """
        INSERT INTO ingest_epoch (server_id, epoch, opened_at)
        SELECT server_id, epoch, updated_at FROM ingest_ledger
        """,
        """
        CREATE VIEW ingest_loss AS
        SELECT g.server_id, g.epoch, lower(r) AS first_seq, upper(r) - 1 AS last_seq,
               upper(r) - lower(r) AS batches, g.from_time, g.to_time,
               CASE g.reason WHEN 'parked' THEN 'parked' ELSE 'lost' END AS state,
               g.reason, g.detail, g.recorded_at
        FROM ingest_gap g, unnest(g.seqs) AS r
        UNION ALL
        SELECT e.server_id, e.epoch, lower(r), upper(r) - 1, upper(r) - lower(r),
               e.opened_at, coalesce(e.closed_at, now()),
               CASE WHEN e.closed_at IS NULL THEN 'pending' ELSE 'lost' END,
               CASE WHEN e.closed_at IS NULL THEN 'not delivered yet' ELSE 'unknown' END,
               NULL, e.closed_at
        FROM ingest_epoch e
        JOIN ingest_ledger l USING (server_id, epoch),
        unnest(int8multirange(int8range(1, greatest(e.announced + 1, upper(l.committed), 1)))
               - l.committed) AS r
        """,
        "COMMENT ON VIEW ingest_loss IS"
        " 'batches that agents numbered and that are not stored: given up, parked or on their way'",
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop the view and the epochs."""
    op.execute("DROP VIEW ingest_loss")
    op.execute("DROP TABLE ingest_epoch")
