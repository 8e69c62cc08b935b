"""Rules as TOML files: what a directory says, checked as a whole before anything is stored.

    [[rule]]
    name = "cpu_usage"
    metric = "cpu.usage_percent"
    operator = ">"
    recovery_threshold = 70
    keep_firing_for = "5m"
    repeat = "4h"
    channels = ["ops"]
    labels = { mount = ["/", "/var"] }        # of the series
    servers = { labels = { env = "prod" } }   # or names = ["web-1"]
    annotations = { runbook = "https://example.org/cpu" }
    levels = [{ severity = "warning", threshold = 80, for = "5m" }]

    [[inhibit]]
    source = "agent_offline"
    targets = ["*"]

A key that is not given has its default, so that the files alone say what a rule is.
"""

from __future__ import annotations

import contextlib
import math
import re
import tomllib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from alerting import parsing, rules
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DURATION_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
DURATION_MAX_S = 3650 * 86_400  # ten years, which any column holds
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
RULE_KEYS = {"inhibit", "rule"}
# the key of a file, the column of `alert_rule`
COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "name": "name",
        "metric": "metric",
        "operator": "operator",
        "levels": "levels",
        "recovery_threshold": "recovery_threshold",
        "keep_firing_for": "keep_firing_for_s",
        "no_data": "no_data",
        "repeat": "repeat_interval_s",
        "channels": "channels",
        "group_by": "group_by",
        "escalate_after": "escalate_after_s",
        "escalate_channels": "escalate_channels",
        "labels": "label_filter",
        "servers": "server_selector",
        "annotations": "annotations",
        "enabled": "enabled",
    }
)
DURATIONS = {"keep_firing_for", "repeat", "escalate_after"}
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "recovery_threshold": None,
        "keep_firing_for_s": 0,
        "no_data": "keep",
        "repeat_interval_s": rules.REPEAT_DEFAULT_S,
        "channels": [],
        "group_by": "rule",
        "escalate_after_s": None,
        "escalate_channels": [],
        "label_filter": {},
        "server_selector": {},
        "annotations": {},
        "enabled": True,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What files ask for: rows of `alert_rule` by name, and pairs of `inhibition`.

    `inhibitions` None: no file speaks of them.
    """

    rules: Mapping[str, Mapping[str, object]]
    inhibitions: frozenset[tuple[str, str]] | None


def read(directory: Path) -> Wanted:
    """Read every `*.toml` of a directory, in the order of their names.

    Raises:
        ConfigError: a file can't be read, or says something wrong; it names file and field.
    """
    paths = sorted(directory.glob("*.toml")) if directory.is_dir() else []
    if not paths:
        expectation = "a directory with *.toml files"
        raise errors.ConfigError("DIR", expectation=expectation, value=str(directory))
    found: dict[str, Mapping[str, object]] = {}
    pairs: set[tuple[str, str]] | None = None
    for path in paths:
        document = _document(path)
        for index, raw in enumerate(_tables(path, document, "rule")):
            row = row_of(f"{path.name}: rule[{index}]", raw)
            name = cast("str", row["name"])
            if name in found:
                expectation = "a name that no other rule has"
                raise errors.ConfigError(f"{path.name}: name", expectation=expectation, value=name)
            found[name] = row
        for index, raw in enumerate(_tables(path, document, "inhibit")):
            pairs = (pairs or set()) | _pairs(f"{path.name}: inhibit[{index}]", raw)
    return Wanted(rules=found, inhibitions=None if pairs is None else frozenset(pairs))


def duration_s(field: str, value: object) -> float:
    """Read `30s`, `5m`, `1h`, `7d` or bare seconds.

    Raises:
        ConfigError: it is none.
    """
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            seconds = float(value)
    elif isinstance(value, str) and (match := DURATION.fullmatch(value)) is not None:
        seconds = float(match[1]) * DURATION_UNITS_S[match[2]]
    if not abs(seconds) <= DURATION_MAX_S:  # nor what is no number
        expectation = f"a time like 30s, 5m or 1h, at most {DURATION_MAX_S // 86_400}d"
        raise errors.ConfigError(field, expectation=expectation, value=value)
    return seconds


def _document(path: Path) -> Mapping[str, object]:
    """Parse one file and refuse tables that nobody reads."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigError(path.name, expectation="TOML", value=str(error)) from error
    _known(path.name, document, RULE_KEYS)
    return document


def _tables(path: Path, document: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    """Return the `[[key]]` tables of a file."""
    raw = document.get(key, [])
    is_list = isinstance(raw, list) and all(isinstance(each, dict) for each in raw)
    if not is_list:
        expectation = f"tables written as [[{key}]]"
        raise errors.ConfigError(f"{path.name}: {key}", expectation=expectation, value=raw)
    return cast("list[Mapping[str, object]]", raw)


def row_of(where: str, raw: Mapping[str, object]) -> Mapping[str, object]:
    """Make a checked row of `alert_rule` of one table.

    Raises:
        ConfigError: it is no rule.
    """
    _known(where, raw, set(COLUMNS))
    name = raw.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        expectation = "1 to 63 letters, digits, dots, dashes or underscores"
        raise errors.ConfigError(f"{where}.name", expectation=expectation, value=name)
    where = f"{where.partition(':')[0]}: {name}"
    row: dict[str, object] = dict(DEFAULTS)
    for key, value in raw.items():
        is_time = key in DURATIONS
        row[COLUMNS[key]] = round(duration_s(f"{where}.{key}", value)) if is_time else value
    levels = row.get("levels")
    if isinstance(levels, list):
        row["levels"] = [
            _level(f"{where}.levels[{index}]", each) for index, each in enumerate(levels)
        ]
    if not isinstance(row["enabled"], bool):
        expectation = "true or false"
        raise errors.ConfigError(f"{where}.enabled", expectation=expectation, value=row["enabled"])
    try:
        rule = parsing.parse(row)
    except rules.InvalidRule as error:
        raise errors.ConfigError(
            f"{where}.{error.field}", expectation=error.expectation, value=error.value
        ) from error
    return MappingProxyType(row | {"metric": rule.metric})


def _level(where: str, raw: object) -> object:
    """Give a level the names that the table has."""
    if not isinstance(raw, dict):
        return raw
    level = cast("dict[str, object]", raw)
    _known(where, level, {"for", "severity", "threshold"})
    lasting = duration_s(f"{where}.for", level.get("for", 0))
    return {
        "severity": level.get("severity"),
        "threshold": level.get("threshold"),
        "for_s": lasting,
    }


def _pairs(where: str, raw: Mapping[str, object]) -> set[tuple[str, str]]:
    """Read one inhibition."""
    _known(where, raw, {"source", "targets"})
    source, targets = raw.get("source"), raw.get("targets")
    if not isinstance(source, str) or not source:
        raise errors.ConfigError(f"{where}.source", expectation="a rule's name", value=source)
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        expectation = 'names of rules, or ["*"]'
        raise errors.ConfigError(f"{where}.targets", expectation=expectation, value=targets)
    if source in targets:
        expectation = "other rules than the source"
        raise errors.ConfigError(f"{where}.targets", expectation=expectation, value=source)
    return {(source, str(target)) for target in targets}


def _known(where: str, raw: Mapping[str, object], keys: set[str]) -> None:
    """Refuse a misspelt key: it would silently not count."""
    for key in raw:
        if key not in keys:
            expectation = f"made of {', '.join(sorted(keys))}"
            raise errors.ConfigError(where, expectation=expectation, value=key)
