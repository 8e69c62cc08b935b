"""A posted body, checked: either every value of it can be stored, or nothing is.

    {"server_id": …, "timestamp": …, "metrics": {"cpu": {…}, "memory": {…},
     "disk": {"<mount>": {…}}, "network": {"<interface>": {…}}}}

A missing family or field, or null, is no value. A field that nobody knows is refused: a typo must
not vanish silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from api import derived, fields, problems, times
from storage import catalog, servers
from storage.lateness import ACCEPT_EARLY, ACCEPT_LATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from api.derived import Values

FAMILIES = ("cpu", "memory", "disk", "network")
NAME = f"1 to {servers.NAME_MAX_CHARACTERS} printable characters, no space at the ends"
LABEL_MAX_CHARACTERS = 1024  # of a mount or an interface
LABEL = f"a name of 1 to {LABEL_MAX_CHARACTERS} printable characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a body says, by table: label of the series ("" where there is none) to its values."""

    server_name: str
    time: datetime
    values: Mapping[str, Mapping[str, Values]]


def parse(document: object, *, now: datetime) -> Submission:
    """Check a body.

    Raises:
        Problem: 422, with everything that is wrong.
    """
    reader = _Reader()
    top = reader.members("", document, ("server_id", "timestamp", "metrics"))
    server_name = reader.server_name(top)
    time = reader.time(top, now)
    values = reader.families(top)
    if not reader.errors and not any(values.values()):
        reader.refuse("metrics", "at least one value", "none")
    if reader.errors or server_name is None or time is None:
        first = reader.errors[0]
        raise problems.Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{first.field} must be {first.expected}, got {first.got}",
            errors=reader.errors,
        )
    return Submission(server_name=server_name, time=time, values=values)


class _Reader:
    """Walks a document and notes what is wrong with it."""

    def __init__(self) -> None:
        self.errors: list[problems.FieldError] = []

    def refuse(self, path: str, expected: str, got: str) -> None:
        """Note what is wrong; `got` is shown as it is."""
        self.errors.append(problems.FieldError(field=path, expected=expected, got=got))

    def wrong(self, path: str, expected: str, value: object) -> None:
        """Note a wrong value."""
        self.errors.append(problems.wrong(path, expected=expected, got=value))

    def members(self, path: str, value: object, known: tuple[str, ...]) -> dict[str, object]:
        """Return the members of an object that are not null, and note those nobody knows."""
        found = self.object(path, value)
        for name in found:
            if name not in known:
                expected = f"one of {', '.join(known)}"
                self.refuse(_join(path, name), expected, "an unknown field")
        return {name: found[name] for name in known if found.get(name) is not None}

    def object(self, path: str, value: object) -> dict[str, object]:
        """Return an object, or note that there is none."""
        if isinstance(value, dict):
            return cast("dict[str, object]", value)
        self.wrong(path or "body", "an object", value)
        return {}

    def server_name(self, top: Mapping[str, object]) -> str | None:
        """Read `server_id`, which is a name."""
        value = top.get("server_id")
        if value is None:
            self.refuse("server_id", NAME, "nothing")
        elif not isinstance(value, str):
            self.wrong("server_id", NAME, value)
        else:
            try:
                servers.check_name(value)
            except servers.InvalidName:
                self.wrong("server_id", NAME, value)
            else:
                return value
        return None

    def time(self, top: Mapping[str, object], now: datetime) -> datetime | None:
        """Read `timestamp`, which is neither too late nor too early."""
        value = top.get("timestamp")
        moment = times.parse_time(value) if isinstance(value, str) else None
        if value is None:
            self.refuse("timestamp", times.TIME, "nothing")
        elif moment is None:
            self.wrong("timestamp", times.TIME, value)
        elif moment > now + ACCEPT_EARLY:
            minutes = ACCEPT_EARLY.total_seconds() / 60
            self.wrong("timestamp", f"at most {minutes:g} minutes ahead of this clock", value)
        elif moment < now - ACCEPT_LATE:
            self.wrong("timestamp", f"at most {ACCEPT_LATE.days} days ago", value)
        else:
            return moment
        return None

    def families(self, top: Mapping[str, object]) -> dict[str, dict[str, Values]]:
        """Read `metrics`."""
        if "metrics" not in top:
            if not self.errors:
                self.refuse("metrics", "an object of families", "nothing")
            return {}
        found = self.members("metrics", top["metrics"], FAMILIES)
        values: dict[str, dict[str, Values]] = {}
        if "cpu" in found:
            values["cpu"] = {"": self.cpu("metrics.cpu", found["cpu"])}
        if "memory" in found:
            read = self.fields("metrics.memory", found["memory"], fields.MEMORY)
            memory = read.get(catalog.MEMORY.name, {})
            values["memory"] = {"": self.derive("metrics.memory", memory, derived.memory)}
        for name, each in self.named("metrics.disk", found.get("disk")).items():
            path = f"metrics.disk[{problems.shown(name)}]"
            read = self.fields(path, each, fields.DISK)
            usage = self.derive(path, read.get(catalog.DISK_USAGE.name, {}), derived.disk_usage)
            values.setdefault(catalog.DISK_USAGE.name, {})[name] = usage
            values.setdefault(catalog.DISK_IO.name, {})[name] = read.get(catalog.DISK_IO.name, {})
        for name, each in self.named("metrics.network", found.get("network")).items():
            path = f"metrics.network[{problems.shown(name)}]"
            read = self.fields(path, each, fields.NETWORK).get(catalog.NETWORK.name, {})
            values.setdefault("network", {})[name] = self.derive(path, read, derived.network)
        return {
            table: {label: one for label, one in each.items() if one}
            for table, each in values.items()
            if any(each.values())
        }

    def cpu(self, path: str, value: object) -> Values:
        """Read the family with the two lists."""
        lists = ("cores", "load_average")
        found = self.members(path, value, (*lists, *fields.CPU))
        given = {name: each for name, each in found.items() if name not in lists}
        values = self.fields(path, given, fields.CPU).get(catalog.CPU.name, {})
        if "cores" in found:
            expected = f"an array of 1 to {fields.CORES_MAX} numbers from 0 to 100"
            cores = self.numbers(f"{path}.cores", found["cores"], fields.CORE, expected)
            if 1 <= len(cores) <= fields.CORES_MAX:
                values[fields.CORE.column.name] = cores
            elif isinstance(found["cores"], list):
                self.wrong(f"{path}.cores", expected, found["cores"])
        if "load_average" in found:
            expected = "an array of the load over 1, 5 and 15 minutes"
            load = fields.CPU["load1"]
            loads = self.numbers(f"{path}.load_average", found["load_average"], load, expected)
            if isinstance(found["load_average"], list) and len(loads) != len(fields.LOADS):
                self.wrong(f"{path}.load_average", expected, found["load_average"])
            values |= dict(zip(fields.LOADS, loads, strict=False))
        return derived.cpu(values)

    def numbers(self, path: str, value: object, field: fields.Field, expected: str) -> list[float]:
        """Read an array of numbers; as long as the array, whatever is wrong with its elements."""
        if not isinstance(value, list):
            self.wrong(path, expected, value)
            return []
        return [
            self.number(f"{path}[{index}]", each, field) or 0.0
            for index, each in enumerate(cast("list[object]", value))
        ]

    def fields(
        self, path: str, value: object, known: Mapping[str, fields.Field]
    ) -> dict[str, Values]:
        """Read the numbers of an object, by table."""
        values: dict[str, Values] = {}
        for name, each in self.members(path, value, tuple(known)).items():
            field = known[name]
            number = self.number(_join(path, name), each, field)
            column = values.setdefault(field.table, {})
            if number is None:
                continue
            if field.column.name in column:
                self.refuse(_join(path, name), "given once", "another spelling of it as well")
            column[field.column.name] = number
        return values

    def number(self, path: str, value: object, field: fields.Field) -> int | float | None:
        """Read one number, or note what is wrong with it."""
        try:
            return field.stored(value)
        except fields.InvalidNumber as error:
            self.wrong(path, error.expected, value)
            return None

    def named(self, path: str, value: object) -> dict[str, object]:
        """Read an object whose names are ours to check."""
        found = {} if value is None else self.object(path, value)
        for name in found:
            if not (1 <= len(name) <= LABEL_MAX_CHARACTERS and name.isprintable()):
                self.wrong(f"{path}[{problems.shown(name)}]", LABEL, name)
        return {name: each for name, each in found.items() if each is not None}

    def derive(self, path: str, values: Values, complete: Callable[[Values], Values]) -> Values:
        """Add what follows from the given values, unless they contradict each other."""
        for part, whole in derived.PARTS.items():
            small, big = values.get(part), values.get(whole)
            if isinstance(small, int) and isinstance(big, int) and small > big:
                self.refuse(f"{path}.{part}", f"at most {whole}, {big}", str(small))
                return values
        return complete(values)


def _join(path: str, name: str) -> str:
    """Return the path of a member; a strange name is written as JSON."""
    plain = name if name.isidentifier() else problems.shown(name)
    return f"{path}.{plain[: problems.GOT_MAX_CHARACTERS]}" if path else plain
