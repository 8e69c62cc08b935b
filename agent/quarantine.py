"""A spool that is not as it was written: set aside for inspection, what can be read is kept.

    spool.db ─▶ spool.db.corrupt-<seconds since 1970>      at most KEPT_FILES of them
        └─ rows that pass their checksum ─▶ a new spool.db, in their old places

What is known to have had a number and can't be read is returned as lost; of that, a gateway takes
off what it has committed. Numbers that only the unreadable part knew are unknown to everybody here:
they show as a gap where the gateway was told of them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from agent.dropped import Dropped
from agent.spool import Spool
from agent.spool_file import SpoolUnusableError
from agent.spool_rows import SpoolCorruptError, SpooledEpoch
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

KEPT_FILES = 3
COMPANIONS = ("", "-wal", "-shm")  # what belongs to a SQLite file

log = logging.getLogger(__name__)


def open_checked(path: Path) -> tuple[Spool, Sequence[Dropped]]:
    """Open a spool and read all of it; return it with what was lost.

    Raises:
        SpoolUnusableError: The disk does not serve.
    """
    try:
        spool = Spool(path)
        try:
            spool.check()
        except BaseException:
            spool.close()
            raise
    except SpoolCorruptError as error:
        return replace(path, str(error))
    return spool, ()


def replace(
    path: Path, problem: str, *, elsewhere: Collection[tuple[int, int]] = ()
) -> tuple[Spool, Sequence[Dropped]]:
    """Set a spool aside; return a new one with what could be read, and what was lost.

    Args:
        path: Of the broken file, which nobody has open.
        problem: For the log.
        elsewhere: (epoch, seq) that are kept in another place and not lost.

    Raises:
        SpoolUnusableError: The disk does not serve; what could be read is lost then, too.
    """
    aside = _set_aside(path)
    spool = Spool(path)
    present: dict[int, set[int]] = {}
    for epoch, seq in elsewhere:
        present.setdefault(epoch, set()).add(seq)
    known: dict[int, SpooledEpoch] = {}
    kept = 0
    try:
        with contextlib.suppress(SpoolCorruptError, SpoolUnusableError):
            broken = Spool(aside, as_found=True)
            with contextlib.closing(broken), spool.transaction():
                known = {each.epoch: each for each in broken.salvage_epochs()}
                spool.keep_dropped(broken.salvage_dropped())
                for each in known.values():
                    spool.keep_epoch(each)
                for each in broken.salvage():
                    seqs = present.setdefault(each.batch.epoch, set())
                    if each.batch.seq not in seqs:
                        boot_id = (
                            known[each.batch.epoch].boot_id if each.batch.epoch in known else b""
                        )
                        spool.insert(each.place, each.batch, boot_id)
                        seqs.add(each.batch.seq)
                        kept += 1
        known |= {each.epoch: each for each in spool.all_epochs()}
    except BaseException:
        spool.close()
        raise
    lost = [
        Dropped(
            epoch=epoch.epoch,
            first_seq=first,
            last_seq=last,
            from_time_unix_ns=epoch.from_time_unix_ns,
            to_time_unix_ns=epoch.to_time_unix_ns,
            reason=telemetry_pb2.DROP_REASON_SPOOL_CORRUPT,
        )
        for epoch in known.values()
        for first, last in holes(present.get(epoch.epoch, ()), epoch.last_seq)
    ]
    log.error(
        "spool_set_aside",
        extra={
            "path": str(aside),
            "error": problem,
            "kept_batches": kept,
            "lost_ranges": len(lost),
        },
    )
    return spool, lost


def holes(present: Iterable[int], last: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges (both ends included) of 1 to `last` that are not present."""
    begin = 1
    for seq in sorted(present):
        if seq > begin:
            yield begin, min(seq - 1, last)
        begin = seq + 1
    if begin <= last:
        yield begin, last


def _set_aside(path: Path) -> Path:
    """Rename a file and its companions; forget the oldest of too many."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
    try:
        for companion in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + companion).rename(
                    aside.with_name(aside.name + companion)
                )
        earlier = sorted(path.parent.glob(f"{path.name}.corrupt-*"))
        names = [each for each in earlier if not each.name.endswith(("-wal", "-shm"))]
        for old in names[:-KEPT_FILES]:
            for companion in COMPANIONS:
                old.with_name(old.name + companion).unlink(missing_ok=True)
    except OSError as error:
        raise SpoolUnusableError(str(error)) from error
    return aside
