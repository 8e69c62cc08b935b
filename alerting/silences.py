"""Silences: when whom not to bother, once or week by week, with an author and a reason.

A recurring one has windows: each chosen weekday, from a time of day in a time zone, for so long. A
window begins at that local time, whatever the zone's clock did that night, and lasts in real time.
A local time that the clock skips in spring comes as much later (02:30 is 03:30); one that it shows
twice in autumn is the first of the two.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, cast

from alerting.rules import Selector
from hostpulse import errors
from storage import audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.database import Connection

FOREVER = timedelta(days=3650)
LASTS_MIN_S = 60
LASTS_MAX_S = 7 * 86_400
REASON_MAX_CHARACTERS = 500
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_COLUMNS = """
    id, rule_names, server_selector, label_filter, starts_at, ends_at, author, reason, zone,
    weekdays, from_local, lasts_s, created_at, ended_at, ended_by
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Windows of a silence; `weekdays` are ISO numbers, Monday is 1."""

    zone: str
    weekdays: tuple[int, ...]
    from_local: time
    lasts_s: int

    def covers(self, moment: datetime) -> bool:
        """Whether a window is open at this moment."""
        zone = zoneinfo.ZoneInfo(self.zone)
        lasts = timedelta(seconds=self.lasts_s)
        today = moment.astimezone(zone).date()
        for back in range(lasts.days + 2):
            day = today - timedelta(days=back)
            if day.isoweekday() in self.weekdays:
                begins = datetime.combine(day, self.from_local, tzinfo=zone).astimezone(UTC)
                if begins <= moment < begins + lasts:
                    return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Mutes the alerts that all of its parts match; an empty part matches every alert."""

    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    id: int = 0
    rule_names: tuple[str, ...] = ()
    selector: Selector = field(default_factory=Selector)
    label_filter: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, "tuple[str, ...]"]
    )
    recurrence: Recurrence | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None

    def is_active(self, moment: datetime) -> bool:
        """Whether it mutes at this moment."""
        if self.ended_at is not None and moment >= self.ended_at:
            return False
        if not self.starts_at <= moment < self.ends_at:
            return False
        return self.recurrence is None or self.recurrence.covers(moment)

    def matches(
        self,
        rule: str,
        server: str | None,
        server_labels: Mapping[str, object],
        labels: Mapping[str, str | None],
    ) -> bool:
        """Whether it is about this alert; one about all servers is no single server's."""
        if self.rule_names and rule not in self.rule_names:
            return False
        chosen = bool(self.selector.names or self.selector.labels)
        if chosen and (server is None or not self.selector.matches(server, server_labels)):
            return False
        return all(labels.get(key) in values for key, values in self.label_filter.items())


def end_of(begins: datetime, lasts: timedelta = FOREVER) -> datetime:
    """Return when a silence ends that lasts so long; one that recurs may do so for good.

    Raises:
        ConfigError: that is after the last year that there is.
    """
    try:
        return begins + lasts
    except OverflowError:
        expectation = f"a moment before the year {MAXYEAR - lasts.days // 365}"
        raise errors.ConfigError("start", expectation=expectation, value=str(begins)) from None


def check(silence: Silence) -> None:
    """Refuse a silence that can't be.

    Raises:
        ConfigError: with the field, the expectation and the value.
    """
    if not silence.starts_at < silence.ends_at:
        expectation = f"after its beginning ({silence.starts_at.isoformat()})"
        raise errors.ConfigError("end", expectation=expectation, value=str(silence.ends_at))
    if not silence.author.strip():
        raise errors.ConfigError("author", expectation="not empty", value=silence.author)
    if not 0 < len(silence.reason.strip()) <= REASON_MAX_CHARACTERS:
        expectation = f"1 to {REASON_MAX_CHARACTERS} characters"
        raise errors.ConfigError("reason", expectation=expectation, value=silence.reason[:50])
    if (recurrence := silence.recurrence) is None:
        return
    try:
        zoneinfo.ZoneInfo(recurrence.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        expectation = "a time zone like Europe/Berlin or UTC"
        raise errors.ConfigError("zone", expectation=expectation, value=recurrence.zone) from error
    if not recurrence.weekdays or not set(recurrence.weekdays) <= set(range(1, 8)):
        expectation = f"some of {', '.join(WEEKDAYS)}"
        raise errors.ConfigError("on", expectation=expectation, value=recurrence.weekdays)
    if not LASTS_MIN_S <= recurrence.lasts_s <= LASTS_MAX_S:
        expectation = "between 1 minute and 7 days"
        raise errors.ConfigError("for", expectation=expectation, value=recurrence.lasts_s)


def weekdays(text: str) -> tuple[int, ...]:
    """Read `mon,tue` or `mon-fri` or `daily`.

    Raises:
        ConfigError: it is none.
    """
    if text == "daily":
        return tuple(range(1, 8))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        if first not in WEEKDAYS or (last and last not in WEEKDAYS):
            expectation = f"daily, or days like mon,wed or mon-fri ({', '.join(WEEKDAYS)})"
            raise errors.ConfigError("on", expectation=expectation, value=text)
        start = WEEKDAYS.index(first)
        span = (WEEKDAYS.index(last or first) - start) % 7
        days |= {(start + n) % 7 + 1 for n in range(span + 1)}
    return tuple(sorted(days))


async def add(connection: Connection, silence: Silence, *, by: str) -> int:
    """Store a checked silence; return its number. `by` is for the audit log."""
    parts: dict[str, object] = {
        "names": list(silence.selector.names),
        "labels": dict(silence.selector.labels),
    }
    async with connection.transaction():
        number = await _insert(connection, silence, parts)
        detail = {"what": what(silence), "when": when(silence), "reason": silence.reason}
        await audit.record(
            connection, actor=by, action="silence.add", subject=str(number), detail=detail
        )
    return number


async def _insert(connection: Connection, silence: Silence, selector: Mapping[str, object]) -> int:
    """Insert the row."""
    r = silence.recurrence
    return await connection.fetchval(
        "INSERT INTO silence (rule_names, server_selector, label_filter, starts_at, ends_at,"
        " author, reason, zone, weekdays, from_local, lasts_s)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        list(silence.rule_names),
        {key: value for key, value in selector.items() if value},
        {key: list(values) for key, values in silence.label_filter.items()},
        silence.starts_at,
        silence.ends_at,
        silence.author,
        silence.reason,
        r.zone if r else None,
        list(r.weekdays) if r else [],
        r.from_local if r else None,
        r.lasts_s if r else None,
    )


async def end(connection: Connection, silence_id: int, *, who: str) -> bool:
    """End a silence now; False where none of this number is still to come or going on."""
    async with connection.transaction():
        ended = await connection.fetchval(
            "UPDATE silence SET ended_at = now(), ended_by = $2"
            " WHERE id = $1 AND ended_at IS NULL AND ends_at > now() RETURNING true",
            silence_id,
            who,
        )
        if ended:
            await audit.record(connection, actor=who, action="silence.end", subject=str(silence_id))
    return bool(ended)


async def list_all(connection: Connection, *, everything: bool = False) -> list[Silence]:
    """Return the silences that are going on or to come, by number; or all of them."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM silence"  # noqa: S608 - a constant
        " WHERE $1 OR (ended_at IS NULL AND ends_at > now()) ORDER BY id",
        everything,
    )
    return [_silence(dict(row)) for row in rows]


def _silence(row: Mapping[str, object]) -> Silence:
    """Make a silence of a row."""
    selector = cast("Mapping[str, object]", row["server_selector"])
    filters = cast("Mapping[str, Sequence[str]]", row["label_filter"])
    recurrence = None
    if row["from_local"] is not None:
        recurrence = Recurrence(
            zone=cast("str", row["zone"]),
            weekdays=tuple(cast("Sequence[int]", row["weekdays"])),
            from_local=cast("time", row["from_local"]),
            lasts_s=cast("int", row["lasts_s"]),
        )
    return Silence(
        id=cast("int", row["id"]),
        rule_names=tuple(cast("Sequence[str]", row["rule_names"])),
        selector=Selector(
            names=tuple(cast("Sequence[str]", selector.get("names", ()))),
            labels=cast("Mapping[str, str]", selector.get("labels", {})),
        ),
        label_filter={key: tuple(values) for key, values in filters.items()},
        starts_at=cast("datetime", row["starts_at"]),
        ends_at=cast("datetime", row["ends_at"]),
        author=cast("str", row["author"]),
        reason=cast("str", row["reason"]),
        recurrence=recurrence,
        created_at=cast("datetime", row["created_at"]),
        ended_at=cast("datetime | None", row["ended_at"]),
        ended_by=cast("str | None", row["ended_by"]),
    )


def what(silence: Silence) -> str:
    """Say in words what is muted."""
    parts = [f"rule {name}" for name in silence.rule_names]
    parts += [f"server {name}" for name in silence.selector.names]
    parts += [f"servers with {key}={value}" for key, value in silence.selector.labels.items()]
    parts += [f"{key} {' or '.join(values)}" for key, values in silence.label_filter.items()]
    return ", ".join(parts) or "everything"


def when(silence: Silence) -> str:
    """Say in words when it mutes."""
    ends = silence.ended_at or silence.ends_at
    span = f"{silence.starts_at:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC"
    if (r := silence.recurrence) is None:
        return span
    days = ",".join(WEEKDAYS[day - 1] for day in r.weekdays)
    return f"{days} from {r.from_local:%H:%M} {r.zone} for {r.lasts_s // 60} min, {span}"


def to_json(silence: Silence, now: datetime) -> dict[str, object]:
    """Return a silence for programs."""
    r = silence.recurrence
    recurrence: dict[str, object] | None = None
    if r is not None:
        recurrence = {
            "zone": r.zone,
            "on": [WEEKDAYS[day - 1] for day in r.weekdays],
            "at": f"{r.from_local:%H:%M}",
            "lasts_s": r.lasts_s,
        }
    return {
        "id": silence.id,
        "rules": list(silence.rule_names),
        "servers": list(silence.selector.names),
        "server_labels": dict(silence.selector.labels),
        "labels": {key: list(values) for key, values in silence.label_filter.items()},
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat(),
        "recurrence": recurrence,
        "author": silence.author,
        "reason": silence.reason,
        "mutes_now": silence.is_active(now),
        "ended_at": silence.ended_at.isoformat() if silence.ended_at else None,
        "ended_by": silence.ended_by,
    }
