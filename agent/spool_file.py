"""Opening the file of a spool: SQLite's settings, the lock, and what its errors mean.

SpoolUnusableError   the disk or the directory does not serve: try again later
SpoolCorruptError    the file is not as it was written (agent/spool_rows.py)
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from agent.spool_rows import SpoolCorruptError
from hostpulse import errors

try:
    import fcntl
except ImportError:  # not a Unix: nobody else is kept out there
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PAGE_BYTES = 1024  # a batch fills its pages: little is written beside it
WAL_KEPT_BYTES = 4 * 1024 * 1024  # a bigger WAL file is cut when it starts anew
LOCK_WAIT_S = 0.25  # for the end of a checkpoint; nobody else writes
# Result codes (https://www.sqlite.org/rescode.html) of a disk or directory that does not serve.
UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


class SpoolUnusableError(errors.Retryable):
    """The disk is full or read-only, the directory forbidden, or another agent has the spool."""


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Turn what SQLite and the system say into our two errors."""
    try:
        yield
    except sqlite3.Error as error:
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        torn = code == sqlite3.SQLITE_IOERR_SHORT_READ
        kind = SpoolUnusableError if code & 0xFF in UNUSABLE and not torn else SpoolCorruptError
        raise kind(str(error)) from error
    except OSError as error:
        raise SpoolUnusableError(str(error)) from error
    except (OverflowError, UnicodeDecodeError) as error:
        raise SpoolCorruptError(str(error)) from error


def connect(path: Path, *, make: bool = False) -> sqlite3.Connection:
    """Open the file, or make it, as a spool needs it."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}",
        uri=True,
        timeout=LOCK_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {WAL_KEPT_BYTES}",
            "cache_size = -512",  # kibibytes
            "cell_size_check = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def locked(path: Path) -> int:
    """Open and lock a file; return its descriptor.

    Raises:
        SpoolUnusableError: Another agent holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise SpoolUnusableError(f"another agent uses {path.parent}") from error
    return descriptor
