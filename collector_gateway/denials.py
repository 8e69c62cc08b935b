"""Denied attempts, in the audit log: the first at once, its repeats as one row a minute.

An attacker who knocks all day fills no table: the same attempt is two rows a minute at most, and
beyond so many different ones only their number is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from hostpulse import backoff
from storage import audit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hostpulse.clock import Clock
    from storage.database import Pool

WINDOW_NS = 60 * 1_000_000_000
KINDS_MAX = 100  # different attempts a window that get rows of their own
LOOK_INTERVAL_S = 1.0
WRITE_TIMEOUT_S = 3.0
SUBJECT_MAX_CHARACTERS = 253

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """An attempt; two are the same where all but the detail are equal."""

    actor: str
    action: str
    subject: str | None
    address: str | None
    detail: Mapping[str, Any] = field(default_factory=dict[str, "Any"], compare=False, hash=False)


@dataclass(slots=True)
class _Window:
    """Since when an attempt is repeated, and how often since then."""

    until_ns: int
    repeats: int = 0


class Denials:
    """Writes denied attempts down; `run` writes the repeats.

    Args:
        pool: for queries.
        clock: measures windows.
    """

    def __init__(self, pool: Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._windows: dict[Denial, _Window] = {}
        self._beyond = 0

    async def note(self, denial: Denial) -> None:
        """Record an attempt; one that can't be recorded is denied all the same."""
        window = self._windows.get(denial)
        if window is not None:
            window.repeats += 1
            return
        if len(self._windows) >= KINDS_MAX:
            self._beyond += 1
            return
        self._windows[denial] = _Window(until_ns=self._clock.monotonic_ns() + WINDOW_NS)
        await self._write(denial, 1)

    async def run(self, stop: asyncio.Event) -> None:
        """Write repeats when their minute is over, and all of them at the stop."""
        while not await backoff.pause(LOOK_INTERVAL_S, stop):
            await self._close_windows(self._clock.monotonic_ns())
        await self._close_windows(None)

    async def _close_windows(self, now_ns: int | None) -> None:
        """Write what was repeated in windows that are over; None: in all."""
        over = [d for d, w in self._windows.items() if now_ns is None or now_ns >= w.until_ns]
        for denial in over:
            window = self._windows.pop(denial)
            if window.repeats:
                await self._write(denial, window.repeats)
        if self._beyond and over:
            beyond, self._beyond = self._beyond, 0
            detail = {"reason": f"more than {KINDS_MAX} different attempts in a minute"}
            await self._write(
                Denial(actor="(many)", action="many", subject=None, address=None, detail=detail),
                beyond,
            )

    async def _write(self, denial: Denial, count: int) -> None:
        """Write a row; while the database is away it is only logged."""
        try:
            async with (
                asyncio.timeout(WRITE_TIMEOUT_S),
                self._pool.acquire(timeout=WRITE_TIMEOUT_S) as connection,
            ):
                await audit.record(
                    connection,
                    actor=denial.actor,
                    action=denial.action,
                    subject=denial.subject and denial.subject[:SUBJECT_MAX_CHARACTERS],
                    allowed=False,
                    address=denial.address,
                    detail=denial.detail,
                    count=count,
                )
        except Exception as error:
            log.warning("denial_not_recorded", action=denial.action, error=type(error).__name__)
