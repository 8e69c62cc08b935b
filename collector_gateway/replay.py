"""Storing a parked batch after all, once what the database refused it for is mended."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from collector_gateway import late, rows
from collector_gateway.clocks import to_datetime
from hostpulse.v1 import telemetry_pb2 as pb
from storage import catalog, engines, parked

if TYPE_CHECKING:
    from storage.database import Connection


class Replayed(StrEnum):
    """What became of a parked batch."""

    STORED = "stored"
    NOT_MISSING = "not missing"  # it had come again and was stored, or was parked twice


async def replay(connection: Connection, batch: parked.Parked) -> Replayed:
    """Store one batch, in one transaction with the end of its gap.

    Raises:
        PostgresError: the database refuses it still; it stays parked.
    """
    message = pb.StreamRequest.FromString(batch.batch).batch
    async with connection.transaction():
        place = await parked.take(connection, batch.id)
        if place is None:
            return Replayed.NOT_MISSING
        # The gap has the time as it was corrected then; the message the agent's own.
        taken = place.time or to_datetime(message.time_unix_ns)
        decoded = rows.decode(message, taken, batch.server_id)
        for table, records in decoded.rows.items():
            await connection.copy_records_to_table(
                table, records=records, columns=catalog.TABLES[table].columns
            )
        engine = await engines.of(connection)
        await late.note(connection, engine, [(batch.server_id, taken, decoded.rows)])
    return Replayed.STORED
