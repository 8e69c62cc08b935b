"""A notification: everything that a message says, fixed at the moment of the change.

It is stored with the change itself, so that what is sent later, or again, is the same message even
if the rule was edited in between.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from alerting import rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerting.series import Place
    from alerting.states import Transition

TIMES = ("since", "fired_at", "at")


class Kind(StrEnum):
    """Why people are told."""

    FIRED = "fired"
    SEVERITY_CHANGED = "severity_changed"
    ANNOUNCED = "announced"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    NO_DATA = "no_data"
    DATA_RETURNED = "data_returned"
    WITHDRAWN = "withdrawn"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is to be told.

    `server` is None for the whole fleet; `value`, `threshold` and `unit` are in the metric's base
    unit. `thread` is the same for all messages of one firing, `dedup_key` is this message's own.
    """

    kind: Kind
    dedup_key: str
    thread: str
    rule: str
    metric: str
    unit: str
    operator: str
    severity: rules.Severity
    threshold: float
    for_s: float
    at: datetime
    server: str | None = None
    labels: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    value: float | None = None
    since: datetime | None = None
    fired_at: datetime | None = None
    is_open: bool = True
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


def describe(rule: rules.Rule, place: Place, transition: Transition) -> Notification:
    """Write down what a transition has to say."""
    level = rule.level(transition.severity)
    after = transition.after
    begun = (after.fired_at or transition.at) if after.firing_number else transition.at
    thread = _thread(rule, place, begun)
    kind = Kind(transition.change.value)
    return Notification(
        kind=kind,
        dedup_key=f"{thread}-{after.firing_number}-{after.notice_number}-{kind}",
        thread=thread,
        rule=rule.name,
        metric=rule.metric,
        unit=rules.unit(rule.metric),
        operator=str(rule.operator),
        severity=transition.severity,
        threshold=level.threshold,
        for_s=level.for_s,
        at=transition.at,
        server=place.server,
        labels=dict(place.series.labels),
        value=after.value,
        since=after.run_started_at,
        fired_at=after.fired_at,
        is_open=after.severity is not None,
        annotations=dict(rule.annotations),
    )


def to_json(notification: Notification) -> dict[str, object]:
    """Return what the outbox stores."""
    # dataclasses.asdict copies deeply, which the read-only mappings of a rule refuse.
    fields = dataclasses.fields(notification)
    payload: dict[str, object] = {f.name: getattr(notification, f.name) for f in fields}
    for name in TIMES:
        value = payload[name]
        payload[name] = value.isoformat() if isinstance(value, datetime) else None
    return payload


def from_json(payload: Mapping[str, object]) -> Notification:
    """Read what the outbox stored; keys of a newer version are ignored.

    Raises:
        ValueError, TypeError: this is no notification.
    """
    known = {f.name for f in dataclasses.fields(Notification)}
    values = {key: value for key, value in payload.items() if key in known}
    for name in TIMES:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(cast("str", values[name]))
    values["kind"] = Kind(cast("str", values.get("kind")))
    values["severity"] = rules.Severity(cast("str", values.get("severity")))
    return Notification(**values)  # pyright: ignore[reportArgumentType] - checked by those who wrote it


def _thread(rule: rules.Rule, place: Place, begun: datetime) -> str:
    """Name a firing; the time keeps two installations and a new database from sharing a name."""
    facts = [rule.name, place.server, place.series.labels, begun.isoformat()]
    return f"hostpulse-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}"
