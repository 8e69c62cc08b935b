"""What is no metric and has been kept long enough: deleted in pieces, so that no lock lasts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.database import Connection

PIECE_ROWS = 5_000
TABLE_MAX_S = 20.0  # the rest waits for the next maintenance
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How long the rows of a table are kept, after the moment in `since`."""

    table: str
    since: str
    age: timedelta


# DESIGN: alert history, audit and events a year; notifications 90 days; dead letters 30 days;
# keys of HTTP requests 24 hours. What a message was posted as lasts as long as notifications do.
KEPT = (
    Kept(table="event", since="time", age=YEAR),
    # A day more: its trigger counts a year as the calendar does, leap days included.
    Kept(table="audit", since="time", age=YEAR + timedelta(days=1)),
    Kept(table="enrollment", since="asked_at", age=YEAR),
    Kept(table="alert_history", since="time", age=YEAR),
    Kept(table="late_firing", since="learned_at", age=YEAR),
    Kept(table="silence", since="least(ended_at, ends_at)", age=YEAR),
    Kept(table="ingest_gap", since="recorded_at", age=YEAR),
    Kept(table="notification", since="created_at", age=timedelta(days=90)),
    Kept(table="posted_message", since="posted_at", age=timedelta(days=90)),
    Kept(table="dead_letter", since="parked_at", age=timedelta(days=30)),
    Kept(table="late_arrival", since="learned_at", age=timedelta(days=30)),
    Kept(table="http_request", since="received_at", age=timedelta(hours=24)),
)


async def expire(
    connection: Connection,
    *,
    piece_rows: int = PIECE_ROWS,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[str, int]:
    """Delete what has expired; return how many rows of which tables.

    Each piece is a transaction of its own; a table that takes longer than its time is gone on with
    at the next call. Not to be called in a transaction.
    """
    gone: dict[str, int] = {}
    for kept in KEPT:
        until = monotonic() + TABLE_MAX_S
        while True:
            status = await connection.execute(
                f"DELETE FROM {kept.table} WHERE ctid = ANY(ARRAY("  # noqa: S608 - constants
                f"SELECT ctid FROM {kept.table} WHERE {kept.since} < now() - $1::interval"
                " LIMIT $2))",
                kept.age,
                piece_rows,
            )
            rows = int(status.split()[-1])
            if rows:
                gone[kept.table] = gone.get(kept.table, 0) + rows
            if rows < piece_rows or monotonic() >= until:
                break
    return gone
