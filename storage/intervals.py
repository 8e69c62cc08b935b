"""The interval in force for each server and family: gaps and alerts are judged by it.

What came before it changed is judged by the former one as well, so that a change breaks no run
that was going on. Of several changes within a day, which is as long as a run may be asked to last,
the longest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storage.database import Connection

KEEP = """
INSERT INTO family_interval (server_id, family, interval_s)
SELECT server_id, family, interval_s
FROM unnest($1::int[], $2::text[], $3::real[]) AS i (server_id, family, interval_s)
ON CONFLICT (server_id, family) DO UPDATE
SET interval_s = excluded.interval_s, updated_at = now(),
    former_s = CASE WHEN family_interval.updated_at > now() - interval '1 day'
                    THEN greatest(family_interval.former_s, family_interval.interval_s)
                    ELSE family_interval.interval_s END
WHERE family_interval.interval_s <> excluded.interval_s
"""

DROP = """
DELETE FROM family_interval f
WHERE server_id = ANY($1) AND family = ANY($2) AND NOT EXISTS (
  SELECT FROM unnest($3::int[], $4::text[]) AS i (server_id, family)
  WHERE i.server_id = f.server_id AND i.family = f.family)
"""


async def keep(connection: Connection, intervals: Iterable[tuple[int, str, float]]) -> None:
    """Write (server id, family, seconds) where they differ from what is there."""
    if rows := list(intervals):
        await connection.execute(KEEP, *(list(column) for column in zip(*rows, strict=True)))


async def replace(
    connection: Connection,
    intervals_s: Mapping[int, Mapping[str, float]],
    *,
    families: Sequence[str],
) -> None:
    """Write all intervals of some servers; of these families those that are not named are off."""
    listed = [(i, f, s) for i, each in intervals_s.items() for f, s in each.items()]
    await keep(connection, listed)
    ids, names = [i for i, _, _ in listed], [f for _, f, _ in listed]
    await connection.execute(DROP, list(intervals_s), list(families), ids, names)
