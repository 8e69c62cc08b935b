"""A spool that is not as it was written: set aside for inspection, what can be read is kept.

    1. spool.db ── rows that pass their checksum ─▶ spool.db.new, in their old places
    2. spool.db ─▶ spool.db.corrupt-<nanoseconds since 1970>      at most KEPT_FILES of them
    3. spool.db.new ─▶ spool.db

A process that dies in between, or a disk that is full, begins again with the broken file, or ends
with the new one: nothing that can be read is ever in neither.

What is known to have had a number and can't be read is written down as dropped; of that, a gateway
takes off what it has committed. Numbers that only the unreadable part knew are unknown to everybody
here: they show as a gap where the gateway was told of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from agent.broken_spool import BrokenSpool
from agent.dropped import Dropped, DroppedRanges
from agent.spool import Spool
from agent.spool_file import explained, locked
from agent.spool_rows import SpoolCorruptError
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from agent.spool_rows import SpooledEpoch

KEPT_FILES = 3
COMPANIONS = ("-wal", "-shm")  # of a SQLite file
NEW = ".new"

log = logging.getLogger(__name__)


def open_checked(path: Path, *, elsewhere: Collection[tuple[int, int]] = ()) -> Spool:
    """Open a spool and read all of it; where it is broken, replace it.

    Args:
        path: Of the spool.
        elsewhere: (epoch, seq) that are kept in another place, and not lost.

    Raises:
        SpoolUnusableError: The disk does not serve.
    """
    _finish_replacing(path)
    try:
        spool = Spool(path)
        try:
            spool.check()
        except BaseException:
            spool.close()
            raise
    except SpoolCorruptError as error:
        return replace(path, str(error), elsewhere=elsewhere)
    return spool


def replace(path: Path, problem: str, *, elsewhere: Collection[tuple[int, int]] = ()) -> Spool:
    """Set a spool aside; return a new one with what could be read, and what was lost as dropped.

    Args:
        path: Of the broken file, which nobody has open.
        problem: For the log.
        elsewhere: (epoch, seq) that are kept in another place, and not lost.

    Raises:
        SpoolUnusableError: The disk does not serve; the broken file is as it was.
    """
    with explained():
        lock = locked(path.with_suffix(".lock"))
        try:
            _remove(_new(path))
            with contextlib.closing(Spool(_new(path), lock=False)) as spool:
                kept, lost = _salvage(path, spool, elsewhere)
                spool.checkpoint()  # all of it is on disk before the broken one goes
            aside = _set_aside(path)
            _put_in_place(path)
        finally:
            os.close(lock)
    log.error(
        "spool_set_aside",
        extra={"path": str(aside), "error": problem, "kept_batches": kept, "lost_ranges": lost},
    )
    return Spool(path)


def _salvage(path: Path, spool: Spool, elsewhere: Collection[tuple[int, int]]) -> tuple[int, int]:
    """Write what can be read of a broken file to a new one; return batches kept, ranges lost."""
    present: dict[int, set[int]] = {}
    for epoch, seq in elsewhere:
        present.setdefault(epoch, set()).add(seq)
    try:
        broken = BrokenSpool(path)
    except SpoolCorruptError:
        return 0, 0
    kept = 0
    with contextlib.closing(broken), spool.transaction():
        known = {each.epoch: each for each in broken.epochs()}
        for each in known.values():
            spool.keep_epoch(each)
        for each in broken.batches():
            epoch, seq = each.batch.epoch, each.batch.seq
            if seq not in present.setdefault(epoch, set()):
                boot_id = known[epoch].boot_id if epoch in known else b""
                spool.insert(each.place, each.batch, boot_id)
                present[epoch].add(seq)
                kept += 1
        lost = [each for epoch in spool.all_epochs() for each in _lost(epoch, present)]
        ranges = DroppedRanges(broken.dropped())
        for each in lost:
            ranges.add(each)
        spool.keep_dropped(ranges.all)
    return kept, len(lost)


def _lost(epoch: SpooledEpoch, present: dict[int, set[int]]) -> Iterator[Dropped]:
    """Yield what had a number in an epoch and is nowhere."""
    for first, last in holes(present.get(epoch.epoch, ()), epoch.last_seq):
        yield Dropped(
            epoch=epoch.epoch,
            first_seq=first,
            last_seq=last,
            from_time_unix_ns=epoch.from_time_unix_ns,
            to_time_unix_ns=epoch.to_time_unix_ns,
            reason=telemetry_pb2.DROP_REASON_SPOOL_CORRUPT,
        )


def holes(present: Iterable[int], last: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges (both ends included) of 1 to `last` that are not present."""
    begin = 1
    for seq in sorted(present):
        if seq > begin:
            yield begin, min(seq - 1, last)
        begin = seq + 1
    if begin <= last:
        yield begin, last


def _new(path: Path) -> Path:
    return path.with_name(path.name + NEW)


def _finish_replacing(path: Path) -> None:
    """Put the new file in place where the broken one is out of the way; else forget it.

    Raises:
        SpoolUnusableError: The disk does not serve.
    """
    with explained():
        if path.exists():
            _remove(_new(path))
        elif _new(path).exists():
            _put_in_place(path)


def _put_in_place(path: Path) -> None:
    _remove(path)  # its WAL would be taken for the new file's
    _new(path).rename(path)


def _set_aside(path: Path) -> Path:
    """Rename a file and then its companions; forget the oldest of too many."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    for companion in ("", *COMPANIONS):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + companion).rename(aside.with_name(aside.name + companion))
    earlier = sorted(path.parent.glob(f"{path.name}.corrupt-*"))
    names = [each for each in earlier if not each.name.endswith(COMPANIONS)]
    for old in names[:-KEPT_FILES]:
        _remove(old)
    return aside


def _remove(path: Path) -> None:
    for companion in ("", *COMPANIONS):
        path.with_name(path.name + companion).unlink(missing_ok=True)
