"""Why samples are missing: what the database knows of a server that fell silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting.observations import Cause

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from storage.database import Connection

HEARD_S = 30.0  # agents send a heartbeat every 15 s, whatever they collect
BOOTED_S = 600.0

_FACTS = """
    SELECT s.id, s.status = 'stopped' AS stopped, s.status_reason,
           coalesce(s.last_seen > now() - make_interval(secs => $2), false) AS heard,
           EXISTS (
             SELECT FROM event e WHERE e.server_id = s.id AND e.kind = 'boot'
               AND e.time > now() - make_interval(secs => $3)
           ) AS booted
    FROM server s WHERE s.id = ANY($1::int[])
"""


async def load(
    connection: Connection, server_ids: Iterable[int], lost_together: Collection[int]
) -> dict[int, Cause]:
    """Return the cause for each server that is known."""
    rows = await connection.fetch(_FACTS, list(server_ids), HEARD_S, BOOTED_S)
    return {row["id"]: _cause(dict(row), lost_together) for row in rows}


def _cause(row: Mapping[str, object], lost_together: Collection[int]) -> Cause:
    """Take the most telling fact."""
    if row["stopped"]:
        reboots = "reboot" in str(row["status_reason"] or "").lower()
        return Cause.REBOOT if reboots else Cause.SHUTDOWN
    if row["id"] in lost_together:
        return Cause.FLEET
    if row["booted"]:
        return Cause.REBOOT
    return Cause.NO_SAMPLES if row["heard"] else Cause.STREAM_LOST
