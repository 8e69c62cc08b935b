"""How long each tier is kept: the setting in the database, and what changing it would do.

The row `retention` of `setting` is the truth; where it is missing, the defaults hold. The engine
postgres reads it whenever it maintains, TimescaleDB's policies are altered in its transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hostpulse.errors import HostpulseError
from storage import lateness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from storage.chunks import Chunk
    from storage.database import Connection

KEY = "retention"
RAW = "raw"
TIERS = (RAW, "1m", "1h")  # the finest first
MINUTES = timedelta(days=30)
HOURS = timedelta(days=365)
UNITS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(days=7),
    "y": timedelta(days=365),
}
LONGEST = timedelta(days=100 * 365)

FIND = "SELECT value FROM setting WHERE key = $1"
KEEP = """
INSERT INTO setting (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class InvalidRetention(HostpulseError):
    """Tiers can't be kept for this long; the message names the rule and the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The age at which each tier's samples are dropped, whole chunks or partitions at a time."""

    raw: timedelta = lateness.RAW_RETENTION
    minute: timedelta = MINUTES
    hour: timedelta = HOURS

    @property
    def tiers(self) -> dict[str, timedelta]:
        """By name of the tier, the finest first."""
        return dict(zip(TIERS, (self.raw, self.minute, self.hour), strict=True))

    def check(self) -> None:
        """Refuse what would lose more than it says.

        Raises:
            InvalidRetention: rollups would be erased, or a coarse tier end before a finer one.
        """
        if broken := lateness.broken_rule(self.raw):
            raise InvalidRetention(
                f"raw={write(self.raw)} would let refreshes erase rollups: the rule is {broken}"
            )
        if not self.raw <= self.minute <= self.hour:
            raise InvalidRetention(
                "a coarser tier must be kept at least as long as a finer one, raw <= 1m <= 1h, "
                f"but they are {describe(self)}"
            )
        if self.hour > LONGEST:
            raise InvalidRetention(f"1h must be at most {write(LONGEST)}, got {write(self.hour)}")


def parse(text: str) -> timedelta:
    """Read `12h`, `7d`, `2w` or `1y` (365 days).

    Raises:
        InvalidRetention: it is none of these.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hdwy])", text.strip())
    if match is None:
        raise InvalidRetention(f"expected a duration like 12h, 7d, 2w or 1y, got {text!r}")
    return int(match[1]) * UNITS[match[2]]


def write(span: timedelta) -> str:
    """Write a duration as `parse` reads it."""
    for unit in ("y", "d", "h"):
        if span % UNITS[unit] == timedelta(0):
            return f"{span // UNITS[unit]}{unit}"
    return f"{span.total_seconds() / 3600:g}h"


def describe(retention: Retention) -> str:
    """Write all tiers as `hostpulse db retention set` takes them."""
    return " ".join(f"{name}={write(span)}" for name, span in retention.tiers.items())


def change(retention: Retention, wanted: Sequence[str]) -> Retention:
    """Apply `raw=7d 1m=30d …` to what is in force; what is not named stays.

    Raises:
        InvalidRetention: a tier is unknown or named twice, a duration is none, or a rule is broken.
    """
    spans = retention.tiers
    named: set[str] = set()
    for part in wanted:
        name, equals, span = part.partition("=")
        if not equals or name not in spans or name in named:
            raise InvalidRetention(
                f"expected each of {', '.join(f'{tier}=…' for tier in TIERS)} at most once, "
                f"got {part!r}"
            )
        named.add(name)
        spans[name] = parse(span)
    raw, minute, hour = spans.values()
    changed = Retention(raw=raw, minute=minute, hour=hour)
    changed.check()
    return changed


def doomed(
    chunks: Sequence[Chunk], *, before: Retention, after: Retention, now: datetime
) -> list[Chunk]:
    """Return the chunks that the new retention drops and the old one would still keep."""
    return [
        chunk
        for chunk in chunks
        if now - before.tiers[chunk.tier] < chunk.end <= now - after.tiers[chunk.tier]
    ]


async def read(connection: Connection) -> Retention:
    """Return what is in force."""
    value: Mapping[str, float] | None = await connection.fetchval(FIND, KEY)
    spans = Retention().tiers
    for name in spans:
        if value and name in value:
            spans[name] = timedelta(seconds=value[name])
    raw, minute, hour = spans.values()
    return Retention(raw=raw, minute=minute, hour=hour)


async def keep(connection: Connection, retention: Retention) -> None:
    """Write what is to be in force; `maintenance.keep_for` also tells the engine."""
    spans = {name: span.total_seconds() for name, span in retention.tiers.items()}
    await connection.execute(KEEP, KEY, spans)
