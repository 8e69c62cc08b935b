"""Rules: what is watched, from when on it is trouble, and whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from hostpulse import errors
from storage import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

OFFLINE_METRIC = "server.offline"  # seconds of silence; no table has it
FOR_MAX_S = 86_400  # a longer wait would make each cycle read more than a day of samples
REPEAT_MIN_S = 60
ESCALATE_MIN_S = 60
KEEP_FIRING_MAX_S = 86_400
RUNBOOK = "runbook"  # the annotation that links to what to do
ANNOTATIONS_MAX = 20
ANNOTATION_NAME_MAX_CHARACTERS = 64
ANNOTATION_MAX_CHARACTERS = 1000  # each goes into every message, and is stored with it
REPEAT_DEFAULT_S = 14_400
LEVELS_MAX = 2  # one of each severity

_NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class InvalidRule(errors.ConfigError):
    """A rule's field is wrong."""


class Severity(StrEnum):
    """How bad it is, the mildest first."""

    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Higher is worse."""
        return _RANKS[self]


_RANKS: Mapping[Severity, int] = MappingProxyType({each: n for n, each in enumerate(Severity)})


class NoDataPolicy(StrEnum):
    """What becomes of an alert whose samples stop coming.

    In every case its state is no_data, never resolved.
    """

    KEEP = "keep"
    """An open firing stays open, silently."""
    OK = "ok"
    """An open firing is closed, and its receivers are told that the data ended."""
    ALERT = "alert"
    """The missing data is a message of its own, also where all was well before."""


class GroupBy(StrEnum):
    """Which changes of one moment are told in one message."""

    NONE = "none"
    RULE = "rule"
    SERVER = "server"


class Operator(StrEnum):
    """How a value is compared with a threshold."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="

    @property
    def upward(self) -> bool:
        """Whether bigger is worse."""
        return self in {Operator.ABOVE, Operator.AT_LEAST}

    def breached(self, value: float, threshold: float) -> bool:
        """Whether `value` is on the bad side of `threshold`."""
        match self:
            case Operator.ABOVE:
                return value > threshold
            case Operator.AT_LEAST:
                return value >= threshold
            case Operator.BELOW:
                return value < threshold
            case Operator.AT_MOST:
                return value <= threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """From `threshold` on, sustained for `for_s` seconds, it is of this severity."""

    severity: Severity
    threshold: float
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which servers: any of the names (all where empty) that carry all of the labels."""

    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def matches(self, name: str, labels: Mapping[str, object]) -> bool:
        """Whether it chooses the server of this name with these labels."""
        if self.names and name not in self.names:
            return False
        return all(labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that can be evaluated; `levels` are ordered from mild to bad.

    `label_filter` maps a label to the values that are watched; a label that is not in it is not
    looked at. Thresholds are in the metric's base unit. A firing that is not acknowledged within
    `escalate_after_s` is also told to `escalate_channels`.
    """

    id: int
    name: str
    metric: str
    operator: Operator
    levels: tuple[Level, ...]
    recovery_threshold: float | None = None
    label_filter: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING)
    selector: Selector = field(default_factory=Selector)
    no_data: NoDataPolicy = NoDataPolicy.KEEP
    repeat_interval_s: float = REPEAT_DEFAULT_S
    channels: tuple[str, ...] = ()
    keep_firing_for_s: float = 0.0
    group_by: GroupBy = GroupBy.RULE
    escalate_after_s: float | None = None
    escalate_channels: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    enabled: bool = True

    @property
    def for_max_s(self) -> float:
        """The longest `for` of its levels."""
        return max(level.for_s for level in self.levels)

    @property
    def recovery(self) -> float:
        """The value from which on a firing is over; the mildest threshold where none is set."""
        if self.recovery_threshold is not None:
            return self.recovery_threshold
        return self.levels[0].threshold

    def watches(self, labels: Mapping[str, str | None]) -> bool:
        """Whether its label filter lets the series with these labels through."""
        return all(labels.get(key) in values for key, values in self.label_filter.items())

    def level(self, severity: Severity) -> Level:
        """Return the level of this severity; the mildest one where it has none (an edited rule)."""
        return next((each for each in self.levels if each.severity is severity), self.levels[0])


def metric_name(name: str) -> str:
    """Return the canonical name of a metric that rules may watch.

    Raises:
        InvalidRule: the catalog has no such metric, or it is an alias in another unit.
    """
    if name == OFFLINE_METRIC:
        return name
    try:
        metric = catalog.find_metric(name)
    except catalog.UnknownMetric as error:
        near = str(error).partition("; ")[2]
        expectation = f"a metric of the catalog or {OFFLINE_METRIC}" + (
            f" ({near})" if near else ""
        )
        raise InvalidRule("metric", expectation=expectation, value=name) from error
    if metric.factor != 1.0:  # its thresholds would be in another unit than the samples
        expectation = f"in its base unit ({metric.name})"
        raise InvalidRule("metric", expectation=expectation, value=name)
    return metric.name


def unit(metric: str) -> str:
    """Return the unit of a rule's metric, `1` for a bare number."""
    return "s" if metric == OFFLINE_METRIC else catalog.find_metric(metric).unit
