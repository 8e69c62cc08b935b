from __future__ import annotations

import asyncpg
import pytest

from hostpulse import errors
from storage.errors import Verdict, classify


def constraint_violation() -> asyncpg.CheckViolationError:
    error = asyncpg.CheckViolationError("somebody's rule")
    error.constraint_name = "their_rule"
    return error


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (asyncpg.CannotConnectNowError("starting"), Verdict.WAIT),
        (asyncpg.AdminShutdownError("bye"), Verdict.WAIT),
        (asyncpg.DiskFullError("full"), Verdict.WAIT),
        (asyncpg.TooManyConnectionsError("many"), Verdict.WAIT),
        (asyncpg.DeadlockDetectedError("dead"), Verdict.WAIT),
        (asyncpg.SerializationError("again"), Verdict.WAIT),
        (asyncpg.QueryCanceledError("slow"), Verdict.WAIT),
        (asyncpg.LockNotAvailableError("locked"), Verdict.WAIT),
        (asyncpg.ReadOnlySQLTransactionError("standby"), Verdict.WAIT),
        (asyncpg.IdleInTransactionSessionTimeoutError("frozen"), Verdict.WAIT),
        (asyncpg.InterfaceError("closed"), Verdict.WAIT),
        (ConnectionResetError(), Verdict.WAIT),
        (TimeoutError(), Verdict.WAIT),
        (errors.Retryable(), Verdict.WAIT),
        (asyncpg.NumericValueOutOfRangeError("big"), Verdict.REJECT),
        (asyncpg.CharacterNotInRepertoireError("nul"), Verdict.REJECT),
        (asyncpg.DataError("not encoded"), Verdict.REJECT),
        (OverflowError("int too big"), Verdict.REJECT),
        (asyncpg.CheckViolationError("no partition"), Verdict.REPAIR),
        (constraint_violation(), Verdict.PARK),
        (asyncpg.UndefinedTableError("gone"), Verdict.RETRY),
        (asyncpg.InternalServerError("bug"), Verdict.RETRY),
        (RuntimeError("never seen"), Verdict.RETRY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_has_one_meaning(error, verdict):
    assert classify(error) is verdict
