"""Which resolution answers a question: raw samples, minutes or hours.

    step < 1 min   raw ──┐
    step < 1 h     1m  ──┤ the next coarser one where the range begins before a tier does
    longer         1h  ──┘

One tier answers a whole question, so that a curve never changes its nature half-way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from storage import catalog, retention
from storage.engines import rollup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.database import Connection

# A client asks for "the last 7 days" a moment before we look at the clock; tiers lose whole chunks,
# so next to nothing of that moment is missing.
SLACK = timedelta(minutes=5)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A relation to read from: `<metric table><suffix>`; raw samples have no width (0)."""

    name: str
    suffix: str = ""
    width_s: int = 0

    def begin(self, moment: datetime) -> datetime:
        """Return the begin of the bucket that holds a moment; of raw samples the moment itself."""
        if not self.width_s:
            return moment
        return moment - (moment - EPOCH) % timedelta(seconds=self.width_s)

    def has(self, table: catalog.Table, column: str) -> bool:
        """Return whether a column of a raw table is there in this tier too."""
        return self is RAW or column in ROLLED_UP[table.name]

    def label_names(self, metric: catalog.Metric) -> tuple[str, ...]:
        """Return the labels that the metric's series are told apart by here."""
        return tuple(
            name
            for name in metric.label_names
            if name == metric.per_element or self.has(metric.table, name)
        )


RAW = Tier(name="raw")
MINUTE, HOUR = (
    Tier(name=tier.name, suffix=f"_{tier.name}", width_s=int(tier.width.total_seconds()))
    for tier in rollup.TIERS
)
TIERS = (RAW, MINUTE, HOUR)  # the finest first

ROLLED_UP: Mapping[str, frozenset[str]] = {
    table.name: frozenset(
        rollup.of(
            table.name, [(c.name, c.sql_type) for c in (*table.labels, *table.values)]
        ).columns
    )
    for table in catalog.TABLES.values()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A tier, and the seconds between the points it answers with; None: samples as they are."""

    tier: Tier
    step_s: int | None

    @property
    def combines(self) -> bool:
        """Whether a point is made of several buckets."""
        return bool(self.tier.width_s) and self.step_s != self.tier.width_s


async def kept(connection: Connection) -> Mapping[str, timedelta]:
    """Return how long each tier is kept in this database, by its name."""
    return (await retention.read(connection)).tiers


def choose(
    step_s: int | None,
    *,
    start: datetime,
    now: datetime,
    kept: Mapping[str, timedelta],
) -> list[Choice]:
    """Return the tiers that may answer, the finest first; at least one.

    Args:
        step_s: asked for, rounded up to what a tier's buckets can be put together to; None asks
            for the finest points that fit in an answer, so that every tier may have to do.
        start: of the range. What begins before a tier does goes to a coarser one.
        now: by which ages are told.
        kept: how long each tier is kept.
    """
    whole = [tier for tier in TIERS if tier is HOUR or start >= now - kept[tier.name] - SLACK]
    if step_s is None:
        return [Choice(tier=tier, step_s=tier.width_s or None) for tier in whole]
    wanted = [tier for tier in TIERS if tier.width_s <= step_s][-1]
    tier = next(each for each in whole if each.width_s >= wanted.width_s)
    return [Choice(tier=tier, step_s=_round_up(step_s, tier.width_s))]


def _round_up(step_s: int, width_s: int) -> int:
    """Return the least multiple of a width that is no shorter than a step."""
    return -(-step_s // width_s) * width_s if width_s else step_s
