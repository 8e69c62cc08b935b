"""What happens to one server and its rule, drawn at random, and a slow oracle of what must follow.

The oracle shares no line with the machine: it looks at all samples that are known at each tick, and
keeps a list of what was told.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

TICK_S = 10.0
TICKS = 48
GAP_S, STALE_S = 25.0, 30.0  # 2.5 intervals end a run; 5 s more, and a sample says nothing
REPEAT_S, ESCALATE_S = 60.0, 90.0
FLIPS_BEFORE_HELD = 4
VALUES = [50.0, 65.0, 75.0, 85.0, 99.0]


@dataclass(frozen=True)
class Edition:
    """The rule as somebody left it; `watches` False: disabled, or about other servers."""

    warning: tuple[float, float] = (80.0, 20.0)  # threshold, for
    critical: tuple[float, float] = (95.0, 10.0)
    recovery: float = 70.0
    enabled: bool = True
    names: tuple[str, ...] = ()

    @property
    def watches(self) -> bool:
        return self.enabled and not self.names

    @property
    def levels(self) -> dict[str, tuple[float, float]]:
        return {"warning": self.warning, "critical": self.critical}


USUAL = Edition()
EDITIONS = [
    *[USUAL] * 3,
    *[Edition(warning=(70.0, 30.0), critical=(80.0, 20.0), recovery=60.0)] * 2,
    Edition(enabled=False),
    Edition(names=("another",)),
]


@dataclass
class Tick:
    """What happens before the workers look."""

    edition: Edition
    arriving: dict[int, float] = field(default_factory=dict[int, float])  # by tick of the sample
    acknowledged: bool = False


def draw(seed: int) -> list[Tick]:
    """Draw a story: values that stay a while, holes, late samples, edits and acknowledgements."""
    chance = random.Random(seed)
    edition, value, hole, withheld = USUAL, 50.0, 0, {}
    ticks = []
    for n in range(TICKS):
        if chance.random() < 0.08:
            edition = chance.choice(EDITIONS)
        if chance.random() < 0.3:
            value = chance.choice(VALUES)
        tick = Tick(edition=edition, acknowledged=chance.random() < 0.04)
        if hole == 0 and chance.random() < 0.08:
            hole = chance.randrange(1, 6)
        if hole:
            hole -= 1
            withheld[n] = value
        else:
            tick.arriving[n] = value
            if withheld and chance.random() < 0.3:
                tick.arriving |= withheld  # late: the holes are filled afterwards
                withheld = {}
        ticks.append(tick)
    return ticks


@dataclass(frozen=True)
class Told:
    tick: int
    change: str
    severity: str
    channels: tuple[str, ...]


def look(known: dict[int, float], n: int, edition: Edition) -> tuple[float, dict] | None:
    """Return the newest value and for how long each level has been breached; None: too old."""
    if not known or (n - max(known)) * TICK_S >= STALE_S:
        return None
    newest = max(known)
    lasted = {}
    for severity, (threshold, _) in edition.levels.items():
        before = None
        for at in sorted(known, reverse=True):
            if known[at] <= threshold or (before is not None and (before - at) * TICK_S > GAP_S):
                break
            before = at
        if before is not None:
            lasted[severity] = (newest - before) * TICK_S
    return known[newest], lasted


def oracle(ticks: list[Tick]) -> list[Told]:
    """Say what is told, of what, and to whom."""
    known: dict[int, float] = {}
    told: list[Told] = []
    flips = 0
    is_open = acknowledged = escalated = held = was_well = was_lost = False
    severity, fired, spoke = "", 0, 0

    def tell(n: int, change: str, *, channels: tuple[str, ...] | None = None) -> None:
        both = ("boss", "ops") if escalated else ("ops",)
        told.append(Told(n, change, severity, channels or both))

    for n, tick in enumerate(ticks):
        known |= tick.arriving
        acknowledged = acknowledged or (is_open and tick.acknowledged)
        if not tick.edition.watches:
            if is_open:
                tell(n, "withdrawn")
            is_open = False
            continue
        seen = look(known, n, tick.edition)
        if seen is None:
            was_lost, was_well = True, False
            continue
        value, lasted = seen
        levels = tick.edition.levels
        lasting = [each for each in levels if lasted.get(each, -1.0) >= levels[each][1]]
        if not is_open:
            if lasting:
                is_open, severity, fired, spoke = True, lasting[-1], n, n
                acknowledged = escalated = was_well = was_lost = False
                flips += 1
                held = flips > FLIPS_BEFORE_HELD
                tell(n, "fired")
            continue
        well = value <= tick.edition.recovery
        if well and not held:
            flips += 1
            tell(n, "resolved")
            is_open = False
            continue
        something = was_lost or well != was_well
        was_lost, was_well = False, well
        if well:
            continue
        before = severity
        if "critical" in lasting:
            severity = "critical"
        elif "critical" not in lasted:
            severity = "warning"
        if severity != before:
            tell(n, "severity_changed")
            spoke = n
        elif something or acknowledged:
            continue
        elif not escalated and (n - fired) * TICK_S >= ESCALATE_S:
            escalated = True
            tell(n, "escalated", channels=("boss",))
            spoke = n
        elif (n - spoke) * TICK_S >= REPEAT_S:
            tell(n, "repeated")
            spoke = n
    return told
