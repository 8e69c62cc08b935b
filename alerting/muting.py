"""What keeps an alert from being told: a silence about it, or another alert that explains it.

The first that says so is the reason; silences come before inhibitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerting import silences
from alerting.decisions import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from alerting.rules import Rule
    from alerting.series import Place
    from storage.database import Connection

EVERY_OTHER = "*"

_SOURCES = """
    SELECT i.source_rule, i.target_rule, a.server_id
    FROM inhibition i
    JOIN alert_rule r ON r.name = i.source_rule
    JOIN alert a ON a.rule_id = r.id
    WHERE a.state = 'firing'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    """Everything that mutes at one moment.

    `inhibited` has the firing sources: (server id, or None for all servers; target rule) to the
    source's name.
    """

    active: Sequence[silences.Silence]
    inhibited: Mapping[tuple[int | None, str], str]

    @property
    def asks_for_server_labels(self) -> bool:
        """Whether servers' labels decide anything."""
        return any(each.selector.labels for each in self.active)

    def decide(
        self, rule: Rule, place: Place, server_labels: Mapping[str, object]
    ) -> Decision | None:
        """Return why nothing new may be told of an alert; None where nothing mutes it."""
        if self.active:
            labels = dict(place.series.labels)
            for each in self.active:
                if each.matches(rule.name, place.server, server_labels, labels):
                    reason = f"silence {each.id} by {each.author}: {each.reason}"
                    return Decision(verdict=Verdict.SILENCED, reason=reason)
        if self.inhibited:
            for server_id in {place.series.server_id, None}:
                for target in (rule.name, EVERY_OTHER):
                    source = self.inhibited.get((server_id, target))
                    if source is not None and source != rule.name:
                        where = "this server" if server_id is not None else "all servers"
                        reason = f"{source} is firing for {where}"
                        return Decision(verdict=Verdict.INHIBITED, reason=reason)
        return None


async def load(connection: Connection, now: datetime) -> Muting:
    """Read what mutes now."""
    known = await silences.list_all(connection)
    rows = await connection.fetch(_SOURCES)
    return Muting(
        active=[each for each in known if each.is_active(now)],
        inhibited={(row["server_id"], row["target_rule"]): row["source_rule"] for row in rows},
    )
