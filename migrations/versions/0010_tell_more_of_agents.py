"""What agents keep in memory only, what they do not have any more, and how far clocks were off."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

LOSS = """
CREATE OR REPLACE VIEW ingest_loss AS
SELECT g.server_id, g.epoch, lower(r) AS first_seq, upper(r) - 1 AS last_seq,
       upper(r) - lower(r) AS batches, g.from_time, g.to_time,
       CASE g.reason WHEN 'parked' THEN 'parked' ELSE 'lost' END AS state,
       g.reason, g.detail, g.recorded_at
FROM ingest_gap g, unnest(g.seqs) AS r
UNION ALL
"""

# Below `held` an agent may still have it. Above, nobody does: its process is over, and its spool
# ends before, as after a power cut.
MISSING = """
SELECT e.server_id, e.epoch, lower(p.seqs), upper(p.seqs) - 1, upper(p.seqs) - lower(p.seqs),
       e.opened_at, coalesce(e.closed_at, p.gone_at, now()),
       CASE WHEN coalesce(e.closed_at, p.gone_at) IS NULL THEN 'pending' ELSE 'lost' END,
       CASE WHEN coalesce(e.closed_at, p.gone_at) IS NULL
            THEN 'not delivered yet' ELSE 'unknown' END,
       NULL, coalesce(e.closed_at, p.gone_at)
FROM ingest_epoch e
JOIN ingest_ledger l USING (server_id, epoch),
unnest(int8multirange(int8range(1, greatest(e.announced + 1, upper(l.committed), 1)))
       - l.committed) AS r,
LATERAL (
  SELECT r AS seqs, NULL::timestamptz AS gone_at WHERE e.closed_at IS NOT NULL OR e.held IS NULL
  UNION ALL
  SELECT r * int8range(NULL, e.held + 1), NULL WHERE e.closed_at IS NULL AND e.held IS NOT NULL
  UNION ALL
  SELECT r * int8range(e.held + 1, NULL), e.held_at WHERE e.closed_at IS NULL AND e.held IS NOT NULL
) p
WHERE NOT isempty(p.seqs)
"""

MISSING_BEFORE = """
SELECT e.server_id, e.epoch, lower(r), upper(r) - 1, upper(r) - lower(r),
       e.opened_at, coalesce(e.closed_at, now()),
       CASE WHEN e.closed_at IS NULL THEN 'pending' ELSE 'lost' END,
       CASE WHEN e.closed_at IS NULL THEN 'not delivered yet' ELSE 'unknown' END,
       NULL, e.closed_at
FROM ingest_epoch e
JOIN ingest_ledger l USING (server_id, epoch),
unnest(int8multirange(int8range(1, greatest(e.announced + 1, upper(l.committed), 1)))
       - l.committed) AS r
"""


def upgrade() -> None:
    """Add the columns, all without a default: compressed chunks take them as they are."""
    for statement in (
        "ALTER TABLE agent_health ADD COLUMN unspooled_batches bigint",
        "ALTER TABLE ingest_epoch ADD COLUMN held bigint, ADD COLUMN held_at timestamptz,"
        " ADD COLUMN clock_offset_ms real",
        "COMMENT ON COLUMN ingest_epoch.held IS"
        " 'the last number that the agent still knows of; NULL while it goes on numbering'",
        "COMMENT ON COLUMN ingest_epoch.held_at IS 'since when that is less than it announced'",
        "COMMENT ON COLUMN ingest_epoch.clock_offset_ms IS"
        " 'how far ahead the clock last was in the boot of this epoch; NULL while it lasts'",
        LOSS + MISSING,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Drop them again."""
    for statement in (
        LOSS + MISSING_BEFORE,
        "ALTER TABLE ingest_epoch DROP COLUMN held, DROP COLUMN held_at,"
        " DROP COLUMN clock_offset_ms",
        "ALTER TABLE agent_health DROP COLUMN unspooled_batches",
    ):
        op.execute(statement)
