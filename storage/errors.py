"""What a database error means for the work in hand: one function decides.

HostpulseError
├── Retryable
│   └── DatabaseUnavailable   it is down, restarting, full or overloaded
└── SchemaMismatch            the database and this code do not fit (schema.py)
"""

from __future__ import annotations

from enum import StrEnum

import asyncpg

from hostpulse.errors import HostpulseError, Retryable


class DatabaseUnavailable(Retryable):
    """The database can't be reached just now."""


class SchemaMismatch(HostpulseError):
    """The database and this version of hostpulse do not fit; the message names the remedy."""


class Verdict(StrEnum):
    """What to do with the batches of a transaction that failed."""

    WAIT = "wait"  # nothing is wrong with them: try until the database is back
    REPAIR = "repair"  # the tables have no room for this time: maintain them, then try again
    RETRY = "retry"  # not understood: try a few times, then park
    PARK = "park"  # the schema refuses them: keep the bytes where people can see them
    REJECT = "reject"  # the values can't be stored, whatever we do


# By SQLSTATE or its class (PostgreSQL documentation, appendix A). Longer prefixes win.
_VERDICTS = {
    "08": Verdict.WAIT,  # connection exception
    "22": Verdict.REJECT,  # data exception
    "23": Verdict.PARK,  # integrity constraint violation
    "25P02": Verdict.WAIT,  # in failed transaction
    "25P03": Verdict.WAIT,  # idle in transaction timeout: we were frozen
    "25006": Verdict.WAIT,  # read-only: a standby, or a full disk's protection
    "40": Verdict.WAIT,  # serialization failure, deadlock
    "53": Verdict.WAIT,  # out of disk, memory, connections
    "55P03": Verdict.WAIT,  # lock not available
    "57": Verdict.WAIT,  # shutdown, crash recovery, statement timeout
    "58": Verdict.WAIT,  # system error
}


def classify(error: BaseException) -> Verdict:
    """Say what to do after `error`; what is not understood is retried, then parked, never lost."""
    if isinstance(error, asyncpg.PostgresError):
        state: str = error.sqlstate or ""
        if isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name:
            return Verdict.REPAIR  # no constraint of anybody's: there is no partition for a row
        for length in (5, 2):
            if (verdict := _VERDICTS.get(state[:length])) is not None:
                return verdict
        return Verdict.RETRY
    if isinstance(error, asyncpg.DataError | OverflowError | ValueError | TypeError):
        return Verdict.REJECT  # it could not even be encoded
    if isinstance(
        error,
        # The client loses track when its session is ended while it is idle.
        asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | TimeoutError | Retryable,
    ):
        return Verdict.WAIT
    return Verdict.RETRY
