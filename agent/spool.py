"""Batches on disk: one SQLite file in WAL mode that outlives this process.

    <data dir>/spool/spool.db        batch, epoch, dropped
    <data dir>/spool/spool.db-wal    what was put since the last checkpoint
    <data dir>/spool/spool.lock      held while an agent uses the spool

With `synchronous=NORMAL` a commit is a write to the page cache, which survives the death of the
process; only a checkpoint waits for the disk (https://www.sqlite.org/wal.html). Checkpoints are
never automatic here: `checkpoint` makes one, on a connection of its own and in a thread. A power
cut loses what the kernel had not written, and leaves an older, whole state: a WAL frame counts only
with its checksum. Each row has a checksum of its own too, because SQLite has none for its pages.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from agent import spool_rows
from agent.spool_file import (
    PAGE_BYTES,
    WAL_KEPT_BYTES,
    SpoolUnusableError,
    connect,
    explained,
    locked,
)
from agent.spool_rows import ROW_BYTES, SCHEMA, VERSION, SpoolCorruptError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from agent.batches import BufferedBatch, NumberedBatch
    from agent.dropped import Dropped
    from agent.spool_rows import Head, SpooledEpoch

COLUMNS = "place, epoch, seq, time_unix_ns, monotonic_ns, samples, crc, payload"
ROWS: dict[bool, str] = {  # by whether the newest come first
    False: f"SELECT {COLUMNS} FROM batch WHERE place > ? ORDER BY place LIMIT ?",  # noqa: S608
    True: f"SELECT {COLUMNS} FROM batch WHERE place < ? ORDER BY place DESC LIMIT ?",  # noqa: S608
}
HEADS = """
SELECT place, epoch, seq, time_unix_ns, monotonic_ns, samples, length(payload),
       (SELECT boot_id FROM epoch e WHERE e.epoch = batch.epoch) AS boot_id
FROM batch
"""
PUT_EPOCH = """
INSERT INTO epoch VALUES (?1, ?2, ?3, ?4, ?4)
ON CONFLICT (epoch) DO UPDATE SET last_seq = max(last_seq, ?2),
  from_time_unix_ns = min(from_time_unix_ns, ?4), to_time_unix_ns = max(to_time_unix_ns, ?4)
"""
PLACE_MAX = (1 << 63) - 1
CHECKED_AT_ONCE = 64  # batches


class Spool:
    """An open spool; whoever opens it closes it. Used in one thread, but for `checkpoint`.

    Args:
        path: Of the SQLite file, made where it is missing.
        lock: Keep other agents out; False where that is done already.

    Raises:
        SpoolUnusableError: By every method; what was asked did not happen.
        SpoolCorruptError: By every method; the file is of no more use as it is.
    """

    def __init__(self, path: Path, *, lock: bool = True) -> None:
        self.path = path
        self._lock = -1
        self._connection: sqlite3.Connection | None = None
        with explained():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if lock:
                self._lock = locked(path.with_suffix(".lock"))
            try:
                self._connection = connect(path, make=True)
                self._prepare()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the file; does nothing the second time."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """Do all of a block or nothing."""
        with explained():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sql.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._sql.execute("ROLLBACK")
                raise

    def insert(self, place: int, batch: NumberedBatch, boot_id: bytes) -> None:
        """Add a batch; in a transaction."""
        numbers = (batch.epoch, batch.seq, batch.time_unix_ns, batch.monotonic_ns, batch.samples)
        crc = spool_rows.crc(numbers, batch.payload)
        with explained():
            self._sql.execute(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (place, *numbers, crc, batch.payload),
            )
            self._sql.execute(PUT_EPOCH, (batch.epoch, batch.seq, boot_id, batch.time_unix_ns))

    def keep_epoch(self, epoch: SpooledEpoch) -> None:
        """Add what is known of an epoch; in a transaction."""
        with explained():
            for moment in (epoch.from_time_unix_ns, epoch.to_time_unix_ns):
                self._sql.execute(PUT_EPOCH, (epoch.epoch, epoch.last_seq, epoch.boot_id, moment))

    def remove(self, places: Iterable[int]) -> None:
        """Remove batches; in a transaction."""
        with explained():
            self._sql.executemany(
                "DELETE FROM batch WHERE place = ?", ((place,) for place in places)
            )

    def keep_dropped(self, ranges: Sequence[Dropped]) -> None:
        """Replace the list of what was given up; in a transaction."""
        rows = [
            (d.epoch, d.first_seq, d.last_seq, d.from_time_unix_ns, d.to_time_unix_ns, d.reason)
            for d in ranges
        ]
        with explained():
            self._sql.execute("DELETE FROM dropped")
            self._sql.executemany("INSERT INTO dropped VALUES (?, ?, ?, ?, ?, ?)", rows)

    def dropped(self) -> Sequence[Dropped]:
        """Return what was given up and not yet reported, the oldest first."""
        return [
            spool_rows.read_dropped(row)
            for row in self._all("SELECT * FROM dropped ORDER BY rowid")
        ]

    def epochs(self) -> Sequence[SpooledEpoch]:
        """Return the epochs that have batches here or a range to report, the oldest first."""
        return [
            spool_rows.read_epoch(row)
            for row in self._all(
                "SELECT * FROM epoch"
                " WHERE epoch IN (SELECT epoch FROM batch UNION SELECT epoch FROM dropped)"
                " ORDER BY (SELECT min(place) FROM batch b WHERE b.epoch = epoch.epoch)"
            )
        ]

    def all_epochs(self) -> Sequence[SpooledEpoch]:
        """Return every epoch that is known here."""
        return [spool_rows.read_epoch(row) for row in self._all("SELECT * FROM epoch")]

    def forget_finished_epochs(self) -> None:
        """Remove what is known of epochs that have nothing here any more; in a transaction."""
        with explained():
            self._sql.execute(
                "DELETE FROM epoch"
                " WHERE epoch NOT IN (SELECT epoch FROM batch UNION SELECT epoch FROM dropped)"
            )

    def page(self, *, after: int, limit: int) -> Sequence[BufferedBatch]:
        """Return up to `limit` batches whose place is greater than `after`, the oldest first."""
        return [spool_rows.read_batch(row) for row in self._all(ROWS[False], (after, limit))]

    def oldest(self, limit: int = 1) -> Sequence[Head]:
        """Return the oldest batches, the oldest first."""
        return [
            spool_rows.read_head(row)
            for row in self._all(f"{HEADS} ORDER BY place LIMIT ?", (limit,))
        ]

    def newest(self, limit: int) -> Sequence[Head]:
        """Return the newest batches, the newest first."""
        return [
            spool_rows.read_head(row)
            for row in self._all(f"{HEADS} ORDER BY place DESC LIMIT ?", (limit,))
        ]

    def of_epoch(self, epoch: int) -> Sequence[Head]:
        """Return the batches of an epoch by number."""
        return [
            spool_rows.read_head(row)
            for row in self._all(f"{HEADS} WHERE epoch = ? ORDER BY seq", (epoch,))
        ]

    def find(self, epoch: int, seq: int) -> Head | None:
        """Return a batch by its number; None where it is not here."""
        found = self._all(f"{HEADS} WHERE epoch = ? AND seq = ?", (epoch, seq))
        return spool_rows.read_head(found[0]) if found else None

    def totals(self) -> tuple[int, int, int]:
        """Return how many batches there are, their cost in bytes, and the last place."""
        ((count, payload_bytes, place),) = self._all(
            "SELECT count(*), total(length(payload)), coalesce(max(place), 0) FROM batch"
        )
        return count, int(payload_bytes) + count * ROW_BYTES, place

    def check(self) -> None:
        """Read the whole file.

        Raises:
            SpoolCorruptError: Something in it is not as it was written.
        """
        if (answer := self._all("PRAGMA integrity_check(1)")) != [("ok",)]:
            raise SpoolCorruptError(str(answer))
        place = -PLACE_MAX
        while page := self.page(after=place, limit=CHECKED_AT_ONCE):
            place = page[-1].place
        self.all_epochs()
        self.dropped()

    def give_back(self) -> None:
        """Return the room of an empty spool to the disk, where it is worth while."""
        ((free_pages,),) = self._all("PRAGMA freelist_count")
        if free_pages * PAGE_BYTES > WAL_KEPT_BYTES:
            self._all("VACUUM")

    def wal_bytes(self) -> int:
        """Return how big the WAL file is."""
        with contextlib.suppress(OSError):
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        return 0

    def checkpoint(self) -> None:
        """Write what was committed to the disk and wait for it; in any thread, beside writers.

        Whoever writes first after a whole checkpoint begins the WAL anew and waits for its header
        to be on disk: that is done here, too, so that `insert` never waits.
        """
        with explained(), contextlib.closing(connect(self.path)) as connection:
            answer = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            _, in_wal, written = answer
            if in_wal == written:
                connection.execute(f"PRAGMA user_version = {VERSION}")

    def _prepare(self) -> None:
        ((version,),) = self._all("PRAGMA user_version")
        if version == 0 and not self._all("SELECT 1 FROM sqlite_master"):
            with explained():
                self._sql.executescript(f"BEGIN;{SCHEMA}COMMIT;")
        elif version != VERSION:
            raise SpoolCorruptError(f"expected version {VERSION}, got {version}")

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._connection is None:
            raise SpoolUnusableError("the spool is closed")
        return self._connection

    def _all(self, statement: str, values: tuple[int, ...] = ()) -> list[Any]:
        with explained():
            return self._sql.execute(statement, values).fetchall()
