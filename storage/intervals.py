"""The interval in force for each server and family: gaps and alerts are judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.database import Connection

KEEP = """
INSERT INTO family_interval (server_id, family, interval_s)
SELECT server_id, family, interval_s
FROM unnest($1::int[], $2::text[], $3::real[]) AS i (server_id, family, interval_s)
ON CONFLICT (server_id, family) DO UPDATE
SET interval_s = excluded.interval_s, updated_at = now()
WHERE family_interval.interval_s <> excluded.interval_s
"""


async def keep(connection: Connection, intervals: Iterable[tuple[int, str, float]]) -> None:
    """Write (server id, family, seconds) where they differ from what is there."""
    if rows := list(intervals):
        await connection.execute(KEEP, *(list(column) for column in zip(*rows, strict=True)))
