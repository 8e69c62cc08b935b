"""What has to be noted of samples that come late, in the transaction that stores them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import late_arrivals

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from storage.database import Connection
    from storage.engines import Engine

    Stored = tuple[int, datetime, Collection[str]]
    """A server's id, when the samples were taken, and the tables that they went to."""


async def note(connection: Connection, engine: Engine, stored: Sequence[Stored]) -> None:
    """Note samples that no alert cycle saw, and such as touch rollups that are finished."""
    fresh_from = datetime.now(UTC) - late_arrivals.LATE_AFTER
    await late_arrivals.note(
        connection, [(server_id, taken) for server_id, taken, _ in stored if taken < fresh_from]
    )
    if engine.late_after is None:
        return
    started: datetime = await connection.fetchval("SELECT now()")  # rollups go by its clock
    late_before = started - engine.late_after
    late = [
        (table, server_id, taken)
        for server_id, taken, tables in stored
        if taken < late_before
        for table in tables
    ]
    await engine.note_late(connection, late)
