"""Groups: what changed at one moment in one way goes out as one message to a channel.

A rule says whether its messages are grouped by the rule (one message for many servers), by the
server (one for many rules), or not at all. PagerDuty gets every alert by itself: its incidents are
told apart by their keys, and it groups them on its own. A group of one is an ordinary message.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerting import notifications, rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from alerting.notifications import Notification
    from alerting.rules import Rule
    from alerting.series import Place
    from alerting.states import Transition

ALONE_KINDS = frozenset({"pagerduty"})
MEMBERS_MAX = 30  # named in a message; the others are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that is to be told, of a stored alert, and to which channels."""

    alert_id: int
    rule: Rule
    place: Place
    transition: Transition
    channels: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to one channel; `alert_ids` are those of all its alerts, the first one's first."""

    channel: str
    notification: Notification
    alert_ids: Sequence[int]
    at: datetime

    @property
    def queue(self) -> str:
        """Messages of one queue keep their order; empty for a group, which has many queues."""
        return f"alert {self.alert_ids[0]}" if len(self.alert_ids) == 1 else ""


def messages(changes: Iterable[Change], channel_kinds: Mapping[str, str]) -> list[Message]:
    """Sort changes into messages."""
    grouped: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        for channel in change.channels:
            alone = channel_kinds.get(channel) in ALONE_KINDS
            grouped.setdefault((channel, *_key(change, alone=alone)), []).append(change)
    told: dict[int, Notification] = {}
    made: list[Message] = []
    for (channel, *key), members in grouped.items():
        if len(members) == 1:
            (one,) = members
            single = told.get(id(one.transition))
            if single is None:
                single = dataclasses.replace(
                    notifications.describe(one.rule, one.place, one.transition),
                    alert_id=one.alert_id,
                )
                told[id(one.transition)] = single
            made.append(
                Message(
                    channel=channel,
                    notification=single,
                    alert_ids=[one.alert_id],
                    at=one.transition.at,
                )
            )
        else:
            made.append(_many(channel, key, members))
    return made


def _key(change: Change, *, alone: bool) -> tuple[str, ...]:
    """Name the group of a change."""
    rule, series = change.rule, change.place.series
    kind = change.transition.change.value
    if alone or rule.group_by is rules.GroupBy.NONE:
        return (kind, "alert", str(change.alert_id), str(change.transition.after.notice_number))
    if rule.group_by is rules.GroupBy.SERVER:
        return (kind, "server", str(series.server_id))
    return (kind, "rule", rule.name)


def _many(channel: str, key: Sequence[str], members: Sequence[Change]) -> Message:
    """Write one message of many changes; the worst comes first and lends it its words."""
    ranked = sorted(members, key=_badness)
    worst = ranked[0]
    at = worst.transition.at
    name = hashlib.sha256(repr((*key, at.isoformat())).encode()).hexdigest()[:24]
    base = notifications.describe(worst.rule, worst.place, worst.transition)
    told = dataclasses.replace(
        base,
        thread=f"hostpulse-group-{name}",
        dedup_key=f"hostpulse-group-{name}-{base.kind}",
        is_open=any(each.transition.after.severity is not None for each in members),
        members=tuple(_member(each) for each in ranked[:MEMBERS_MAX]),
        member_count=len(members),
    )
    return Message(
        channel=channel, notification=told, alert_ids=[each.alert_id for each in ranked], at=at
    )


def _badness(change: Change) -> tuple[int, float, int]:
    """Order by severity, then by value, the worst first."""
    value = change.transition.after.value or 0.0
    return (
        -change.transition.severity.rank,
        -value if change.rule.operator.upward else value,
        change.alert_id,
    )


def _member(change: Change) -> notifications.Member:
    after = change.transition.after
    return notifications.Member(
        alert_id=change.alert_id,
        firing_number=after.firing_number,
        severity=str(change.transition.severity),
        value=after.value,
        rule=change.rule.name,
        unit=rules.unit(change.rule.metric),
        server=change.place.server,
        labels=dict(change.place.series.labels),
    )
