"""What can be pushed to agents: every field with its bounds, checked before it is stored.

The names are those of the agent's own settings. An agent checks again, by its own bounds; a test
holds the two together.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hostpulse import patterns
from hostpulse.errors import ConfigError
from hostpulse.numbers import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Check = Callable[["Field", object], object]

FAMILIES = (
    "cpu",
    "memory",
    "disk_usage",
    "disk_io",
    "network",
    "tcp",
    "process",
    "pressure",
    "agent_health",
)
NOT_GENERAL = frozenset({"disk_usage"})  # changes slowly, and keeps its own interval
GENERAL_INTERVAL = "interval_s"
REDACTIONS = ("redacted", "names")
NAMES_MAX = 100
NAME_MAX_CHARACTERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: its kind (`number`, `integer`, `switch`, `choice`, `names`, `speeds`, `patterns`).

    Attributes:
        expectation: What is accepted, worded to follow "must be".
        low: The least number.
        high: The greatest.
        choices: Of a choice.
    """

    name: str
    kind: str
    expectation: str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> object:
        """Return the value as it is stored.

        Raises:
            ConfigError: It can't be.
        """
        checked = _CHECKS[self.kind](self, value)
        if checked is None:
            raise ConfigError(self.name, expectation=self.expectation, value=value)
        return checked

    def read(self, text: str) -> object:
        """Return what a command line says, to be checked."""
        if text[:1] in ("[", "{") and self.kind in ("names", "speeds", "patterns"):
            try:
                return cast("object", json.loads(text))
            except ValueError:
                return text
        match self.kind:
            case "names":
                return [each.strip() for each in text.split(",") if each.strip()]
            case "patterns":
                return [text] if text else []
            case "speeds":
                pairs = [each.partition("=") for each in text.split(",")]
                return {name.strip(): _number(speed) for name, _, speed in pairs}
            case "number" | "integer":
                return _number(text)
            case "switch":
                words = {"true": True, "on": True, "yes": True, "false": False, "off": False}
                return words.get(text.lower(), False if text.lower() == "no" else text)
            case _:
                return text


def check_all(fields: Mapping[str, object]) -> dict[str, object]:
    """Check the fields of one scope; the names in order.

    Raises:
        ConfigError: It names the field, what is expected there, and what came.
    """
    for name in fields:
        if name not in FIELDS:
            expectation = f"any of {', '.join(FIELDS)}"
            raise ConfigError("field", expectation=expectation, value=str(name)[:100])
    checked = {name: field.check(fields[name]) for name, field in FIELDS.items() if name in fields}
    check_whole(checked)
    return checked


def check_whole(fields: Mapping[str, object], *, of: str = "config") -> None:
    """Refuse a config that would have an agent read nothing.

    Raises:
        ConfigError: It would.
    """
    if all(fields.get(f"{family}_enabled") is False for family in FAMILIES):
        expectation = "one that leaves at least one family on"
        raise ConfigError(of, expectation=expectation, value="all off")


def expand(fields: Mapping[str, object]) -> dict[str, object]:
    """Write the general interval as that of each family that has none of its own here."""
    general = fields.get(GENERAL_INTERVAL)
    expanded = {name: value for name, value in fields.items() if name != GENERAL_INTERVAL}
    if general is not None:
        for family in FAMILIES:
            if family not in NOT_GENERAL:
                expanded.setdefault(f"{family}_interval_s", general)
    return expanded


def _number(text: str) -> object:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else value


def _check_number(field: Field, value: object) -> object:
    number = finite(value)
    inside = number is not None and (field.low or 0) <= number <= (field.high or math.inf)
    return value if inside else None


def _check_integer(field: Field, value: object) -> object:
    number = _check_number(field, value)
    if not isinstance(number, int | float) or number != int(number):
        return None
    return int(number)


def _check_switch(_field: Field, value: object) -> object:
    return value if isinstance(value, bool) else None


def _check_choice(field: Field, value: object) -> object:
    return value if value in field.choices else None


def _check_names(_field: Field, value: object) -> object:
    if not isinstance(value, list):
        return None
    names = cast("list[object]", value)
    return names if len(names) <= NAMES_MAX and all(map(_is_name, names)) else None


def _is_name(value: object) -> bool:
    # What is stored is jsonb and a message, and neither takes NUL or half a character.
    return (
        isinstance(value, str)
        and 0 < len(value.strip()) <= len(value) <= NAME_MAX_CHARACTERS
        and value.isprintable()
    )


def _check_speeds(_field: Field, value: object) -> object:
    if not isinstance(value, dict):
        return None
    speeds = cast("dict[object, object]", value)
    good = 0 < len(speeds) <= NAMES_MAX and all(
        _is_name(name) and (finite(speed) or 0) > 0 for name, speed in speeds.items()
    )
    return speeds if good else None


def _check_patterns(field: Field, value: object) -> object:
    if not isinstance(value, list):
        return None
    texts = cast("list[object]", value)
    if not all(isinstance(each, str) and each.strip() == each != "" for each in texts):
        return None
    if not all(cast("str", each).isprintable() for each in texts):
        return None
    patterns.compile_all(field.name, cast("list[str]", texts))
    return texts


_CHECKS: Mapping[str, Check] = {
    "number": _check_number,
    "integer": _check_integer,
    "switch": _check_switch,
    "choice": _check_choice,
    "names": _check_names,
    "speeds": _check_speeds,
    "patterns": _check_patterns,
}


def _interval(name: str, about: str) -> Field:
    return Field(
        name=name,
        kind="number",
        expectation="between 5 and 60 seconds",
        help=f"seconds between two readings of {about}",
        low=5,
        high=60,
    )


def _filter(name: str, about: str) -> Field:
    return Field(
        name=name,
        kind="names",
        expectation=f"a list of at most {NAMES_MAX} names or shell patterns",
        help=f"{about}; with either list of a pair given, both replace the agent's own filter",
    )


_ALL: tuple[Field, ...] = (
    _interval(GENERAL_INTERVAL, "all families but disk_usage"),
    *(_interval(f"{family}_interval_s", family) for family in FAMILIES),
    *(
        Field(
            name=f"{family}_enabled",
            kind="switch",
            expectation="true or false",
            help=f"whether {family} is read",
        )
        for family in FAMILIES
    ),
    Field(
        name="process_top_n",
        kind="integer",
        expectation="a whole number between 0 and 100",
        help="how many processes by CPU, and by memory",
        low=0,
        high=100,
    ),
    *(
        _filter(f"{kind}_{side}", f"{kind} that are {word}")
        for kind in ("mounts", "interfaces", "devices")
        for side, word in (("include", "read"), ("exclude", "left out"))
    ),
    Field(
        name="interface_speeds_mbps",
        kind="speeds",
        expectation="an object of interface and megabits a second",
        help="speeds that drivers do not know",
    ),
    Field(
        name="redaction",
        kind="choice",
        expectation=f"any of {', '.join(REDACTIONS)}",
        help="what is sent of command lines, at most: the agent's own setting may be tighter",
        choices=REDACTIONS,
    ),
    Field(
        name="redaction_patterns",
        kind="patterns",
        expectation="a list of regular expressions",
        help="what they match in arguments is a secret, too",
    ),
    Field(
        name="max_samples_per_batch",
        kind="integer",
        expectation="a whole number between 10 and 100",
        help="the most that a new batch may hold",
        low=10,
        high=100,
    ),
    Field(
        name="spool_max_bytes",
        kind="integer",
        expectation=f"a whole number between {1024**2} and {64 * 1024**3} bytes",
        help="how much is kept on disk while no gateway answers",
        low=1024**2,
        high=64 * 1024**3,
    ),
    Field(
        name="spool_max_age_s",
        kind="number",
        expectation="between 60 and 518400 seconds",
        help="how long it is kept there",
        low=60,
        high=518_400,
    ),
)
FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}
