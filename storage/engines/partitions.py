"""Range partitions by time on plain PostgreSQL: made ahead, attached, detached, dropped.

Partitions are made stand-alone and then attached: creating one in place would lock the parent
against ingest. There is no default partition, which would make both attaching and detaching scan or
refuse; a time without a partition is refused before it gets here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.database import Connection

SCHEMA = "hostpulse_internal"


class Period(StrEnum):
    """How much time a partition covers; all begin at midnight UTC."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def begin(self, moment: datetime) -> datetime:
        """Return the begin of the partition that holds a moment."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        match self:
            case Period.DAY:
                return day
            case Period.WEEK:
                return day - timedelta(days=day.weekday())
            case Period.MONTH:
                return day.replace(day=1)

    def next(self, begin: datetime) -> datetime:
        """Return the begin of the partition after the one that begins at `begin`."""
        return self.begin(begin + timedelta(days={"day": 1, "week": 7, "month": 31}[self.value]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioned:
    """A partitioned table.

    Args:
        parent: its name as SQL has it.
        name: the beginning of its partitions' names.
        period: of one partition.
        back: how far before now rows may come.
        ahead: how far after now partitions are made.
        retention: the age at which a partition is dropped, by its newest moment.
        needed_from: from here on nothing is dropped, whatever its age; None where all may go.
    """

    parent: str
    name: str
    period: Period
    back: timedelta
    ahead: timedelta
    retention: timedelta
    needed_from: datetime | None = None


class Attachment(Enum):
    """How a partition hangs on its parent."""

    ATTACHED = auto()
    DETACHING = auto()
    DETACHED = auto()


async def maintain(connection: Connection, table: Partitioned, now: datetime) -> list[str]:
    """Make room ahead, drop what has expired; safe to repeat and to interrupt."""
    found = await _find(connection, table)
    return [
        *await _create_missing(connection, table, found, now),
        *await _drop_expired(connection, table, found, now),
    ]


async def _find(connection: Connection, table: Partitioned) -> dict[str, Attachment]:
    """Return the tables that are, or once were, partitions of `table`."""
    rows = await connection.fetch(
        """
        SELECT c.relname, i.inhrelid IS NOT NULL AS attached, i.inhdetachpending AS pending
        FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' AND c.relname ~ $2
        """,
        SCHEMA,
        f"^{table.name}_[0-9]{{8}}$",
    )
    return {
        row["relname"]: Attachment.DETACHING
        if row["pending"]
        else Attachment.ATTACHED
        if row["attached"]
        else Attachment.DETACHED
        for row in rows
    }


async def _create_missing(
    connection: Connection, table: Partitioned, found: dict[str, Attachment], now: datetime
) -> list[str]:
    """Create and attach what is missing between the oldest row that may come and days ahead."""
    begin = table.period.begin(now - table.back)
    done: list[str] = []
    while begin <= now + table.ahead:
        name, until = f"{table.name}_{begin:%Y%m%d}", table.period.next(begin)
        if found.get(name) is not Attachment.ATTACHED:
            async with connection.transaction():
                # It may be there, detached by hand and with rows: then it comes back.
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{name}"
                    f" (LIKE {table.parent} INCLUDING ALL)"
                )
                await connection.execute(
                    f"ALTER TABLE {table.parent} ATTACH PARTITION {SCHEMA}.{name}"
                    f" FOR VALUES FROM ('{begin.isoformat()}') TO ('{until.isoformat()}')"
                )
            done.append(f"created {name}")
        begin = until
    return done


async def _drop_expired(
    connection: Connection, table: Partitioned, found: dict[str, Attachment], now: datetime
) -> list[str]:
    """Detach and drop the partitions that lie wholly before retention.

    A run that was killed in between left a table half or wholly detached: finish that, and first,
    because PostgreSQL detaches nothing else as long as one is half detached.
    """
    done: list[str] = []
    until = min(now - table.retention, table.needed_from or datetime.max.replace(tzinfo=UTC))
    for name in sorted(found, key=lambda name: (found[name] is not Attachment.DETACHING, name)):
        attachment = found[name]
        begin = datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC)
        if table.period.next(begin) > until:
            continue
        if attachment is not Attachment.DETACHED:
            how = "FINALIZE" if attachment is Attachment.DETACHING else "CONCURRENTLY"
            await connection.execute(
                f"ALTER TABLE {table.parent} DETACH PARTITION {SCHEMA}.{name} {how}"
            )
        await connection.execute(f"DROP TABLE {SCHEMA}.{name}")
        done.append(f"dropped {name}")
    return done
