"""What came so late that no alert cycle has seen it in time; the alert worker looks at it once.

Noted are stretches, one for each server and clock hour that waits, so that hours of backlog are a
few rows. A stretch that grows says when (`learned_at`), by which its reader knows that it has seen
all of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storage.database import Connection

# What is younger is in the window of the next cycle, or was too short for a level of one minute.
LATE_AFTER = timedelta(seconds=60)

# In the order of the index: two gateways that note the same stretches wait for each other in turn.
NOTE = """
INSERT INTO late_arrival (server_id, from_time, to_time)
SELECT server_id, from_time, to_time
FROM unnest($1::int[], $2::timestamptz[], $3::timestamptz[]) AS s (server_id, from_time, to_time)
ORDER BY server_id, from_time
ON CONFLICT (server_id, (date_bin(INTERVAL '1 hour', from_time,
                                  TIMESTAMPTZ '2000-01-01 00:00:00+00')))
  WHERE evaluated_at IS NULL
DO UPDATE SET from_time = least(late_arrival.from_time, excluded.from_time),
              to_time = greatest(late_arrival.to_time, excluded.to_time),
              learned_at = clock_timestamp()
"""


def hour_of(time: datetime) -> datetime:
    """Return the beginning of the clock hour that a time lies in, as the index has it."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


async def note(connection: Connection, samples: Iterable[tuple[int, datetime]]) -> None:
    """Note (server id, time) of late samples; in the transaction that stores them."""
    stretches: dict[tuple[int, datetime], tuple[datetime, datetime]] = {}
    for server_id, time in samples:
        key = server_id, hour_of(time)
        start, end = stretches.get(key, (time, time))
        stretches[key] = min(start, time), max(end, time)
    if stretches:
        await connection.execute(
            NOTE,
            [server_id for server_id, _ in stretches],
            [start for start, _ in stretches.values()],
            [end for _, end in stretches.values()],
        )
