"""Why people are told of a change, or not: decisions that explain themselves, kept in the history.

    change ─▶ announced before? ─▶ silence ─▶ inhibition ─▶ channels ─▶ group ─▶ outbox

Each stage may end the way with a verdict; what passes all of them is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What was decided."""

    TOLD = "told"
    SILENCED = "silenced"
    INHIBITED = "inhibited"
    NOT_ANNOUNCED = "not_announced"
    """It ended, and nobody had heard that it began."""
    NO_CHANNEL = "no_channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with its reason, for people."""

    verdict: Verdict
    reason: str

    @property
    def tells(self) -> bool:
        """Whether a message goes out."""
        return self.verdict is Verdict.TOLD
