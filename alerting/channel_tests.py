"""Trying a channel: a message that says it is a test, by the way that every message takes.

It goes through the outbox, so that the alert worker sends it, with its environment and its keys; it
is tried once, and what came of it is waited for.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from alerting import notifications, rules
from alerting.notifications import Kind, Notification

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.database import Pool

WAIT_MAX_S = 30.0
LOOK_S = 0.2
ACQUIRE_MAX_S = 5.0

_ADD = """
    INSERT INTO notification
      (created_at, alert_id, channel, kind, dedup_key, payload, next_attempt_at)
    VALUES (now(), 0, $1, $2, $3, $4, now()) RETURNING id
"""
# One that nobody took up must not come as a surprise later.
_WITHDRAW = """
    UPDATE notification SET state = 'failed', finished_at = now(), last_error = $2
    WHERE id = $1 AND state = 'pending' AND leased_until IS NULL
"""
NOT_TAKEN = f"no alert worker sent it within {WAIT_MAX_S:g} s"


class Outcome(StrEnum):
    """What became of a test."""

    SENT = "sent"
    FAILED = "failed"
    NOT_TAKEN = "not_taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a test, and the error where it failed."""

    outcome: Outcome
    error: str | None = None


def sample(now: datetime) -> Notification:
    """Write a test message; its key is a new one."""
    key = f"hostpulse-test-{now:%Y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
    return Notification(
        kind=Kind.TEST,
        dedup_key=key,
        thread=key,
        rule="cpu_usage",
        metric="cpu.usage_percent",
        unit="percent",
        operator=">",
        severity=rules.Severity.WARNING,
        threshold=80.0,
        for_s=300.0,
        at=now,
        server="example-server",
        value=91.5,
    )


async def run(
    pool: Pool,
    channel: str,
    *,
    wait_s: float = WAIT_MAX_S,
    monotonic: Callable[[], float] | None = None,
) -> Result:
    """Have a test sent to a channel that exists; return what became of it within `wait_s`."""
    clock = monotonic or asyncio.get_running_loop().time
    told = sample(datetime.now(UTC))
    async with pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
        number = await connection.fetchval(
            _ADD, channel, str(told.kind), told.dedup_key, notifications.to_json(told)
        )
    until = clock() + wait_s
    while True:
        is_last = clock() >= until
        async with pool.acquire(timeout=ACQUIRE_MAX_S) as connection:
            if is_last:
                await connection.execute(_WITHDRAW, number, NOT_TAKEN)
            row = await connection.fetchrow(
                "SELECT state, last_error FROM notification WHERE id = $1", number
            )
        if row is None or row["state"] == "pending":
            if is_last:
                return Result(outcome=Outcome.NOT_TAKEN, error="it is still being sent")
        elif row["state"] == "sent":
            return Result(outcome=Outcome.SENT)
        elif row["last_error"] == NOT_TAKEN:
            return Result(outcome=Outcome.NOT_TAKEN, error=NOT_TAKEN)
        else:
            return Result(outcome=Outcome.FAILED, error=row["last_error"])
        await asyncio.sleep(LOOK_S)
