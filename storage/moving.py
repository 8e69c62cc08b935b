"""Copy a database into another one, which may have the other engine.

    small tables ─ raw samples, hour by hour ─ old rollups into the archive ─ ledger last

Everything is copied in steps of one transaction each, and the target remembers which are done: a
move that is interrupted goes on where it was. The ledger comes last, so that a target never says
that a batch is stored before its rows are. Rollups of the time that raw samples cover are made
anew by the target's engine; older ones go to the archive behind the public views.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hostpulse.errors import HostpulseError
from storage import audit, catalog, engines, retention
from storage.engines import rolling
from storage.engines.rollup import INTERNAL, TIERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from storage.database import Connection

STEP = timedelta(hours=1)  # of raw samples and of rollups of minutes
ARCHIVE_STEPS = {"1m": timedelta(hours=6), "1h": timedelta(days=30)}
LEDGER = "ingest_ledger"
# Not copied: what the target makes itself.
OWN = ("alembic_version", "hostpulse_meta", LEDGER)

TABLES = """
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> ALL($1)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname
"""
COLUMNS = """
SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
IDENTITIES = """
SELECT attname, pg_get_serial_sequence(attrelid::regclass::text, attname) AS sequence
FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> ''
"""
# The connections that write, and the one that every gateway has as long as it runs.
IN_USE = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database()
  AND application_name IN ('hostpulse flush', 'hostpulse claim', 'hostpulse config',
                           'hostpulse alert cycle', 'hostpulse outbox')
"""
FINGERPRINT = """
SELECT system_identifier::text || '/' || current_database() FROM pg_control_system()
"""
# The audit log can't be emptied, so it must be empty.
OCCUPIED = "SELECT EXISTS (SELECT FROM server) OR EXISTS (SELECT FROM audit)"
REMEMBER = """
INSERT INTO hostpulse_meta (key, value) VALUES ('move', $1)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class MoveRefused(HostpulseError):
    """The move can't be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one transaction copies: rows of `relation` in [start, end), or all of them."""

    name: str
    relation: str
    target: str
    columns: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the rows are samples, of which the target makes rollups."""
        return self.relation in catalog.TABLES

    def query(self, aggregate: str | None = None) -> str:
        """Return the statement that reads the rows, or an aggregate of them."""
        what = aggregate or ", ".join(self.columns)
        if self.start is None or self.end is None:
            return f"SELECT {what} FROM {self.relation}"  # noqa: S608 - names of the catalog
        return (
            f"SELECT {what} FROM {self.relation}"  # noqa: S608 - the same, and times of our own
            f" WHERE time >= '{self.start.isoformat()}' AND time < '{self.end.isoformat()}'"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A step that is done."""

    step: str
    number: int
    of: int
    rows: int


async def move(source: Connection, target: Connection, *, by: str) -> AsyncIterator[Progress]:
    """Copy `source` into `target`, which is migrated and empty, or half moved from this source.

    `by` is for the audit log of the target, which is that of the source and one row.

    Raises:
        MoveRefused: a gateway is running on either, the target holds something else, or counts
            differ in the end.
    """
    await _check_idle(source, "the source")
    await _check_idle(target, "the target")
    begun = await _resume(source, target)
    target_engine = await engines.of(target)
    now: datetime = await target.fetchval("SELECT now()")
    await target_engine.maintain(target, now)
    steps = await _plan(source, begun.at, now)
    for number, step in enumerate(steps, 1):
        if step.name in begun.steps:
            continue
        rows = await _copy(source, target, step, begun, target_engine)
        yield Progress(step=step.name, number=number, of=len(steps), rows=rows)
    await target_engine.rebuild_rollups(target)
    await _compare(source, target, steps)
    async with target.transaction():
        await target.execute(REMEMBER, {"done": True})
        await audit.record(target, actor=by, action="database.move", subject=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A move, as the target remembers it: of which source, since when, and the steps done."""

    source: str
    at: datetime
    steps: list[str]

    def remembered(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"source": self.source, "at": self.at.isoformat(), "steps": self.steps}


async def _check_idle(connection: Connection, which: str) -> None:
    """Refuse while something of ours writes."""
    if await connection.fetchval(IN_USE):
        raise MoveRefused(
            f"{which} is in use: stop gateways and alert workers first; agents keep their samples"
        )


async def _resume(source: Connection, target: Connection) -> _Begun:
    """Return the move that was interrupted, or begin one."""
    fingerprint = await source.fetchval(FINGERPRINT)
    found = await target.fetchval("SELECT value FROM hostpulse_meta WHERE key = 'move'")
    if found is not None and found.get("source") == fingerprint and "at" in found:
        at = datetime.fromisoformat(found["at"])
        return _Begun(source=fingerprint, at=at, steps=found["steps"])
    if found is not None or await target.fetchval(OCCUPIED):
        raise MoveRefused("the target holds something already: give an empty database")
    begun = _Begun(source=fingerprint, at=await target.fetchval("SELECT now()"), steps=[])
    # The seeds of a fresh database would clash with the rows that come.
    async with target.transaction():
        for (table,) in await target.fetch(TABLES, [*OWN, *catalog.TABLES]):
            await target.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of the database
        await target.execute(REMEMBER, begun.remembered())
    return begun


async def _plan(source: Connection, begun_at: datetime, now: datetime) -> list[Step]:
    """List the steps, in their order.

    What is raw and what comes as old rollups is told by the first attempt's time: on another day,
    samples that are copied already would come as old rollups too.
    """
    steps: list[Step] = []
    kept_for = (await retention.read(source)).raw
    for (table,) in await source.fetch(TABLES, [*OWN, *catalog.TABLES]):
        columns = await source.fetchval(COLUMNS, table)
        steps.append(Step(name=table, relation=table, target=table, columns=tuple(columns)))
    for definition in rolling.ROLLUPS:
        table = definition.table
        first: datetime | None = await source.fetchval(f"SELECT min(time) FROM {table}")  # noqa: S608
        kept = (begun_at - kept_for).replace(hour=0)  # older raw samples are about to go
        begin = max(first or now, kept).replace(minute=0, second=0, microsecond=0)
        columns = catalog.TABLES[table].columns
        if first is not None:
            steps += _ranges(table, table, columns, begin, now + STEP, STEP)
        for tier in TIERS:
            view = f"{table}_{tier.name}"
            oldest: datetime | None = await source.fetchval(
                f"SELECT min(time) FROM {view} WHERE time < $1",  # noqa: S608
                begin,
            )
            if oldest is not None:
                archive = f"{INTERNAL}.{view}_archive"
                step = ARCHIVE_STEPS[tier.name]
                steps += _ranges(view, archive, definition.columns, oldest, begin, step)
    ledger = tuple(await source.fetchval(COLUMNS, LEDGER))
    return [*steps, Step(name=LEDGER, relation=LEDGER, target=LEDGER, columns=ledger)]


def _ranges(
    relation: str,
    target: str,
    columns: Sequence[str],
    start: datetime,
    end: datetime,
    width: timedelta,
) -> list[Step]:
    """Cut a span into steps."""
    steps: list[Step] = []
    while start < end:
        until = min(start + width, end)
        steps.append(
            Step(
                name=f"{relation} {start:%Y-%m-%dT%H:%M}",
                relation=relation,
                target=target,
                columns=tuple(columns),
                start=start,
                end=until,
            )
        )
        start = until
    return steps


async def _copy(
    source: Connection,
    target: Connection,
    step: Step,
    begun: _Begun,
    engine: engines.Engine,
) -> int:
    """Copy the rows of one step and remember it, in one transaction; return how many."""
    schema, _, table = step.target.rpartition(".")
    with tempfile.TemporaryFile() as file:  # a step may be larger than the memory
        await source.copy_from_query(step.query(), output=file, format="binary")
        file.seek(0)
        async with target.transaction():
            copied = await target.copy_to_table(
                table,
                source=file,
                columns=list(step.columns),
                schema_name=schema or None,
                format="binary",
            )
            if step.is_raw and step.start is not None and engine.late_after is not None:
                servers = await target.fetch(step.query("DISTINCT server_id"))
                marks = [(step.relation, row["server_id"], step.start) for row in servers]
                await engine.note_late(target, marks)
            if step.start is None:
                await _set_sequences(target, step.target)
            begun.steps.append(step.name)
            await target.execute(REMEMBER, begun.remembered())
    return int(copied.rpartition(" ")[2])


async def _set_sequences(target: Connection, table: str) -> None:
    """Let new numbers begin after the copied ones: they are never used again."""
    for row in await target.fetch(IDENTITIES, table):
        await target.execute(
            f"SELECT setval($1, greatest(1, (SELECT max({row['attname']}) FROM {table})))",  # noqa: S608
            row["sequence"],
        )


async def _compare(source: Connection, target: Connection, steps: Sequence[Step]) -> None:
    """Count every step on both sides.

    Raises:
        MoveRefused: counts differ.
    """
    for step in steps:
        there = await source.fetchval(step.query("count(*)"))
        relation = step.target
        here = await target.fetchval(step.query("count(*)").replace(step.relation, relation, 1))
        if here != there:
            raise MoveRefused(
                f"{step.name}: {there} rows in the source, {here} in the target: the source has "
                "changed meanwhile; move into a new empty database"
            )
