"""Who fell silent: single servers, or everybody at once, which is not the servers' fault.

Silence is measured by the database's clock, which also wrote `server.last_seen`. It counts from the
moment at which somebody could have been heard: not before the database started, nor before the
alert worker came back from an outage, nor before a stall of the whole ingest was over.

Ingest is *stalled* when at least two watched servers were heard within a minute of each other and
since then nobody at all, for 30 s or 2.5 of the shortest interval. Servers that were silent
before don't count: with one server left, its silence is simply that it is offline.

A *loss* is when at least three servers, a fifth of those watched or more, were last heard within a
minute of each other and are all silent for that long: that is one alert about the gateway or the
database, and none of these servers is judged by itself until the rest is less than a fifth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerting.evaluation import Finding
from alerting.observations import Run, Seen
from alerting.rules import OFFLINE_METRIC, Rule
from alerting.series import Place, Series

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from storage.database import Connection

SILENT_INTERVALS = 3
STALLED_S = 30.0
STALLED_INTERVALS = 2.5
TOGETHER_S = 60.0
STALLED_LABELS = {"scope": "ingest"}
LOST_LABELS = {"scope": "fleet"}
LOST_SHARE = 0.2
LOST_LEAST = 3

_FLEET = """
    WITH watched AS (
      SELECT s.last_seen, i.shortest_s, max(s.last_seen) OVER () AS newest
      FROM server s
      LEFT JOIN (
        SELECT server_id, min(interval_s) AS shortest_s FROM family_interval GROUP BY server_id
      ) i ON i.server_id = s.id
      WHERE s.watch_offline AND s.status <> 'stopped' AND s.last_seen IS NOT NULL
    )
    SELECT max(newest) AS newest,
           extract(epoch FROM now() - greatest(max(newest), $1))::float8 AS silent_s,
           (SELECT count(*) FROM watched)::int AS watched, count(*) AS together,
           min(shortest_s)::float8 AS shortest_s
    FROM watched WHERE last_seen >= newest - make_interval(secs => $2)
"""

_LOST = """
    SELECT s.id, s.last_seen,
           extract(epoch FROM now() - greatest(s.last_seen, $1))::float8 AS silent_s
    FROM server s
    LEFT JOIN (
      SELECT server_id, min(interval_s) AS shortest_s FROM family_interval GROUP BY server_id
    ) i ON i.server_id = s.id
    WHERE s.watch_offline AND s.status <> 'stopped' AND s.last_seen IS NOT NULL
      AND greatest(s.last_seen, $1)
          < now() - make_interval(secs => greatest($2, $3 * coalesce(i.shortest_s, 0)))
    ORDER BY s.last_seen, s.id
"""

_SILENT = """
    SELECT s.id AS server_id, s.name AS server, s.labels, s.last_seen,
           CASE WHEN s.status = 'stopped' THEN 0
                ELSE extract(epoch FROM now() - s.last_seen) END::float8 AS value,
           CASE WHEN s.status = 'stopped' THEN 0
                ELSE extract(epoch FROM now() - greatest(s.last_seen, $1)) END::float8 AS silent_s,
           coalesce($3 * i.shortest_s, 0)::float8 AS least_s
    FROM server s
    LEFT JOIN (
      SELECT server_id, min(interval_s) AS shortest_s FROM family_interval GROUP BY server_id
    ) i ON i.server_id = s.id
    WHERE s.watch_offline AND s.last_seen IS NOT NULL
      AND (s.id = ANY($4::int[])
           OR (s.status <> 'stopped'
               AND greatest(s.last_seen, $1) < now() - make_interval(
                     secs => greatest($2, $3 * coalesce(i.shortest_s, 0)))))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of all watched servers together."""

    newest: datetime | None
    silent_s: float
    stalled: bool
    lost: frozenset[int] = frozenset()
    lost_since: datetime | None = None
    lost_s: float = 0.0

    @property
    def is_troubled(self) -> bool:
        """Whether it is the gateway or the database, not the servers."""
        return self.stalled or bool(self.lost)


async def look_at_fleet(connection: Connection, *, heard_since: datetime) -> Fleet:
    """See whether anybody is heard; `heard_since` is when listening began."""
    row = await connection.fetchrow(_FLEET, heard_since, TOGETHER_S)
    if row is None or row["newest"] is None:
        return Fleet(newest=None, silent_s=0.0, stalled=False)
    allowed_s = max(STALLED_S, STALLED_INTERVALS * (row["shortest_s"] or 0.0))
    silent = await connection.fetch(_LOST, heard_since, STALLED_S, STALLED_INTERVALS)
    lost = _lost([(each["last_seen"], each["id"]) for each in silent], row["watched"])
    seen = {each["id"]: each for each in silent}
    return Fleet(
        newest=row["newest"],
        silent_s=row["silent_s"],
        stalled=row["together"] >= 2 and row["silent_s"] > allowed_s,
        lost=frozenset(lost),
        lost_since=max((seen[each]["last_seen"] for each in lost), default=None),
        lost_s=min((seen[each]["silent_s"] for each in lost), default=0.0),
    )


def _lost(silent: Sequence[tuple[datetime, int]], watched: int) -> list[int]:
    """Return the most servers that were last heard within a minute, if they are enough."""
    needed = max(LOST_LEAST, math.ceil(LOST_SHARE * watched))
    first, best = 0, (0, 0)
    for end, (moment, _) in enumerate(silent, start=1):
        while (moment - silent[first][0]).total_seconds() > TOGETHER_S:
            first += 1
        best = max(best, (end - first, end))
    count, end = best
    return [server_id for _, server_id in silent[end - count : end]] if count >= needed else []


async def evaluate(
    connection: Connection,
    chosen: Sequence[Rule],
    live: Collection[Series],
    fleet: Fleet,
    *,
    heard_since: datetime,
) -> list[Finding]:
    """Look at the servers' silence; while ingest is stalled, that is the one thing to say."""
    findings: list[Finding] = []
    for rule in chosen:
        if rule.metric != OFFLINE_METRIC:
            continue
        stalled = _stalled(rule, fleet)
        if fleet.stalled or stalled.place.series in live:
            findings.append(stalled)
        lost = _together(rule, fleet)
        if not fleet.stalled and (fleet.lost or lost.place.series in live):
            findings.append(lost)
        if not fleet.stalled:
            silent = await _silent(connection, rule, live, heard_since)
            findings += [f for f in silent if f.place.series.server_id not in fleet.lost]
    return findings


def _together(rule: Rule, fleet: Fleet) -> Finding:
    """Describe the loss of many servers at one moment."""
    level = rule.levels[-1]
    runs: tuple[Run, ...] = ()
    if fleet.lost and fleet.lost_since is not None:
        lasted_s = max(fleet.lost_s, level.for_s)
        runs = (Run(severity=level.severity, since=fleet.lost_since, lasted_s=lasted_s),)
    return Finding(
        place=Place(series=Series.of(rule.id, None, LOST_LABELS), server=None),
        observation=Seen(value=fleet.lost_s, recovered=not fleet.lost, runs=runs),
    )


def _stalled(rule: Rule, fleet: Fleet) -> Finding:
    """Describe the whole fleet's silence, at once at the rule's worst severity."""
    level = rule.levels[-1]
    runs: tuple[Run, ...] = ()
    if fleet.stalled and fleet.newest is not None:
        lasted_s = max(fleet.silent_s, level.for_s)
        runs = (Run(severity=level.severity, since=fleet.newest, lasted_s=lasted_s),)
    series = Series.of(rule.id, None, STALLED_LABELS)
    return Finding(
        place=Place(series=series, server=None),
        observation=Seen(value=fleet.silent_s, recovered=not fleet.stalled, runs=runs),
    )


async def _silent(
    connection: Connection, rule: Rule, live: Collection[Series], heard_since: datetime
) -> list[Finding]:
    """Find the servers that a rule calls offline, and those that it did."""
    known = sorted(s.server_id for s in live if s.rule_id == rule.id and s.server_id is not None)
    rows = await connection.fetch(
        _SILENT, heard_since, rule.levels[0].threshold, float(SILENT_INTERVALS), known
    )
    findings: list[Finding] = []
    for row in rows:
        if not rule.selector.matches(row["server"], row["labels"]):
            continue
        silent_s, least_s = row["silent_s"], row["least_s"]
        runs = tuple(
            Run(
                severity=level.severity,
                since=row["last_seen"],
                lasted_s=silent_s - max(level.threshold, least_s),
            )
            for level in rule.levels
            if silent_s > max(level.threshold, least_s)
        )
        recovered = silent_s <= max(rule.recovery, least_s)
        findings.append(
            Finding(
                place=Place(series=Series.of(rule.id, row["server_id"], {}), server=row["server"]),
                observation=Seen(value=row["value"], recovered=recovered, runs=runs),
            )
        )
    return findings
