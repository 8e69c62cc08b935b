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
    ACKNOWLEDGED = "acknowledged"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of several alerts that a message speaks of."""

    alert_id: int
    firing_number: int
    severity: str
    value: float | None
    rule: str
    unit: str
    server: str | None = None
    labels: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is to be told.

    `server` is None for the whole fleet; `value`, `threshold` and `unit` are in the metric's base
    unit. `thread` is the same for all messages of one firing, `dedup_key` is this message's own.
    A message about several alerts holds the first of them as `members` and counts all; the other
    fields are those of the worst one. What is added when it is sent is not stored: `evidence`
    (lines), `sparkline`, `chart` (a PNG), and `ack_url`.
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
    cause: str | None = None
    flapping: bool = False
    server_id: int | None = None
    members: tuple[Member, ...] = ()
    member_count: int = 1
    alert_id: int | None = None
    firing_number: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    evidence: tuple[str, ...] = ()
    sparkline: str | None = None
    chart: bytes | None = field(default=None, repr=False)
    ack_url: str | None = field(default=None, repr=False)


ADDED_WHEN_SENT = frozenset({"evidence", "sparkline", "chart", "ack_url"})
MEMBER_FIELDS = tuple(f.name for f in dataclasses.fields(Member))
STORED = tuple(f.name for f in dataclasses.fields(Notification) if f.name not in ADDED_WHEN_SENT)


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
        cause=after.cause,
        flapping=after.flapping,
        server_id=place.series.server_id,
        firing_number=after.firing_number,
        annotations=dict(rule.annotations),
    )


def to_json(notification: Notification) -> dict[str, object]:
    """Return what the outbox stores."""
    # dataclasses.asdict copies deeply, which the read-only mappings of a rule refuse.
    payload: dict[str, object] = {name: getattr(notification, name) for name in STORED}
    payload["members"] = [
        {name: getattr(member, name) for name in MEMBER_FIELDS} for member in notification.members
    ]
    for name in TIMES:
        value = payload[name]
        payload[name] = value.isoformat() if isinstance(value, datetime) else None
    return payload


def from_json(payload: Mapping[str, object]) -> Notification:
    """Read what the outbox stored; keys of a newer version are ignored.

    Raises:
        ValueError, TypeError: this is no notification.
    """
    values = {key: value for key, value in payload.items() if key in STORED}
    members = cast("list[dict[str, object]]", values.get("members", []))
    values["members"] = tuple(
        Member(**{key: value for key, value in member.items() if key in MEMBER_FIELDS})  # pyright: ignore[reportArgumentType] - as below
        for member in members
    )
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
