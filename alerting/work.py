"""Work: what any number of workers share out among them, leased row by row.

A row is the evaluation of all rules on one table, or of who fell silent. A worker leases what is
due in a statement of its own, evaluates, and gives the row back in the transaction that stores the
results: only whoever still holds the lease can store anything. A worker that dies leaves a lease
that runs out after one interval, or three times what the work took last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from alerting.rules import OFFLINE_METRIC
from hostpulse import errors
from storage import catalog

if TYPE_CHECKING:
    import uuid

    from storage.database import Connection

LIVENESS = "liveness"

_TAKE = """
    WITH picked AS (
      SELECT key FROM alert_work
      WHERE due_at <= now() AND (leased_until IS NULL OR leased_until < now())
      ORDER BY due_at, key LIMIT 1
      FOR UPDATE SKIP LOCKED
    )
    UPDATE alert_work w
    SET worker = $1,
        leased_until = now() + greatest($2, make_interval(secs => coalesce(took_ms, 0) * 0.003))
    FROM picked WHERE w.key = picked.key
    RETURNING w.key
"""

_FINISH = """
    UPDATE alert_work
    SET worker = NULL, leased_until = NULL, last_at = now(), due_at = now() + $3,
        took_ms = t.ms, spent_ms = spent_ms + t.ms, runs = runs + 1, rules = $4, findings = $5,
        servers = (SELECT count(*) FROM server WHERE status <> 'stopped')
    FROM (SELECT extract(epoch FROM clock_timestamp() - now()) * 1000 AS ms) t
    WHERE key = $1 AND worker = $2
    RETURNING true
"""


class LeaseLost(errors.Retryable):
    """Another worker took this work over; nothing of it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work that one worker alone may do until its lease runs out."""

    key: str
    worker: uuid.UUID
    interval_s: float

    async def finish(self, connection: Connection, *, rules: int, findings: int) -> None:
        """Give it back, to be done again after an interval; in the transaction of its results.

        Args:
            connection: in that transaction.
            rules: how many were evaluated.
            findings: how many series had something to say.

        Raises:
            LeaseLost: it took too long, and another worker has it.
        """
        interval = timedelta(seconds=self.interval_s)
        if not await connection.fetchval(_FINISH, self.key, self.worker, interval, rules, findings):
            raise LeaseLost


def key_of(metric: str) -> str:
    """Return which piece of work looks at a metric."""
    if metric == OFFLINE_METRIC:
        return LIVENESS
    return f"samples of {catalog.find_metric(metric).table.name}"


async def prepare(connection: Connection) -> None:
    """Make the rows that are missing; rules on a table that none was on before get theirs here."""
    rows = await connection.fetch("SELECT DISTINCT metric FROM alert_rule")
    metrics = {str(row["metric"]) for row in rows}
    keys = {LIVENESS, *(key_of(each) for each in metrics if each in catalog.METRICS)}
    await connection.execute(
        "INSERT INTO alert_work (key) SELECT key FROM unnest($1::text[]) AS k(key)"
        " WHERE NOT EXISTS (SELECT FROM alert_work w WHERE w.key = k.key)"
        " ON CONFLICT DO NOTHING",
        sorted(keys),
    )


async def take(connection: Connection, worker: uuid.UUID, *, interval_s: float) -> Work | None:
    """Lease the piece of work that has been due for longest; None when none is."""
    key = await connection.fetchval(_TAKE, worker, timedelta(seconds=interval_s))
    return None if key is None else Work(key=key, worker=worker, interval_s=interval_s)
