"""Moments and steps as people write them in a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from storage.reading import MAX_STEP_S, MIN_STEP_S

TIME = "an RFC 3339 time with an offset, like 2026-02-02T14:30:00Z"
STEP = f"seconds or 30s, 5m, 1h, 1d, from {MIN_STEP_S}s to {MAX_STEP_S // 86_400}d"
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_STEP = re.compile(r"(\d{1,6})([smhd]?)", re.ASCII)
FIRST_YEAR, LAST_YEAR = 1970, 9998  # with room for arithmetic on both sides


def parse_time(text: str) -> datetime | None:
    """Read an RFC 3339 time (section 5.6) as UTC; None if it is none.

    Digits beyond microseconds are cut off.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    micros = (fraction or "0")[:6].ljust(6, "0")
    shift = "+00:00" if offset in "Zz" else offset
    try:
        moment = datetime.fromisoformat(f"{day}T{time}.{micros}{shift}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def parse_step(text: str) -> int | None:
    """Read a step in seconds; None if it is none, or out of bounds."""
    match = _STEP.fullmatch(text)
    if match is None:
        return None
    seconds = int(match[1]) * SECONDS[match[2]]
    return seconds if MIN_STEP_S <= seconds <= MAX_STEP_S else None


def format_time(moment: datetime) -> str:
    """Write a UTC time; a fraction only where there is one."""
    return moment.isoformat()[:-6] + "Z"


def in_json(value: object) -> object:
    """Return a value with its moments written as text, however deep they are."""
    if isinstance(value, datetime):
        return format_time(value.astimezone(UTC))
    if isinstance(value, Mapping):
        return {key: in_json(each) for key, each in cast("Mapping[str, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [in_json(each) for each in cast("Sequence[object]", value)]
    return value
