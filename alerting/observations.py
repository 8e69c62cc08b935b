"""What one cycle sees of an alert: fresh samples, none, or that nobody watches it any more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from alerting.rules import Severity


class Cause(StrEnum):
    """Why there are no samples."""

    SHUTDOWN = "shutdown"
    """The agent said goodbye."""
    REBOOT = "reboot"
    """The machine went down to come up again, or came up with a new boot id."""
    STREAM_LOST = "stream_lost"
    """Nothing is heard from the agent."""
    NO_SAMPLES = "no_samples"
    """The agent is heard, but not with these samples."""
    FLEET = "fleet"
    """Many servers fell silent together: the gateway or the database, not the servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An unbroken series of samples that breach a level, up to the newest one."""

    severity: Severity
    since: datetime
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """There are fresh samples. `runs` holds the levels that the newest one breaches."""

    value: float
    recovered: bool
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The newest sample is too old to say anything, or there is none."""

    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The rule no longer watches this: it was disabled or edited, or the server is gone."""


Observation = Seen | Unseen | Withdrawn
