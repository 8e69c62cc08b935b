"""What Grafana does to a statement before PostgreSQL gets it.

As in Grafana's sources: the browser puts in variables (packages/grafana-sql,
`interpolateVariable`), the server the interval (sqleng, `Interpolate`), then the macros
(grafana-postgresql-datasource, `macros.go`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

FOLDER = Path(__file__).parents[3] / "dashboards/grafana"
NICE_MS = (
    *(s * 1000 for s in (1, 2, 5, 10, 15, 20, 30)),
    *(m * 60_000 for m in (1, 2, 5, 10, 15, 20, 30)),
    *(h * 3_600_000 for h in (1, 2, 3, 6, 12, 24)),
)
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A statement of a dashboard, and where it stands.

    `shortest_ms` and `points_max` are of the panel, where it sets them.
    """

    board: str
    where: str
    sql: str
    shape: str
    shortest_ms: int = 1000
    points_max: int | None = None

    def __str__(self) -> str:
        return f"{self.board}: {self.where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What somebody looks at: a range, on a screen of so many pixels, with variables chosen."""

    start: datetime
    end: datetime
    timescaledb: bool
    variables: Mapping[str, str | list[str]] = field(default_factory=dict)
    pixels: int = 900

    def interval_ms(self, asked: Asked) -> int:
        """Return the interval that Grafana gives a panel: a nice one, never under its least."""
        points = asked.points_max or self.pixels
        exact = (self.end - self.start).total_seconds() * 1000 / points
        nice = next((each for each in NICE_MS if each >= exact * 0.75), NICE_MS[-1])
        return max(nice, asked.shortest_ms)


def load(name: str) -> dict:
    return json.loads((FOLDER / name).read_text("utf-8"))


def statements() -> Iterator[Asked]:
    """Give every statement of every panel, variable and annotation."""
    for file in sorted(FOLDER.glob("*.json")):
        board = json.loads(file.read_text("utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets") or []:
                yield Asked(
                    board=file.stem,
                    where=f"{panel['title']} {target['refId']}",
                    sql=target["rawSql"],
                    shape=target["format"],
                    shortest_ms=milliseconds(panel.get("interval") or "1s"),
                    points_max=panel.get("maxDataPoints"),
                )
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield Asked(
                    board=file.stem,
                    where=f"${variable['name']}",
                    sql=variable["query"],
                    shape="table",
                )
        for annotation in board["annotations"].get("list", []):
            if "target" in annotation:
                yield Asked(
                    board=file.stem,
                    where=f"annotation {annotation['name']}",
                    sql=annotation["target"]["rawSql"],
                    shape="table",
                )


def constants(name: str) -> dict[str, str | list[str]]:
    """Return the values that a dashboard brings along."""
    return {
        each["name"]: each["query"]
        for each in load(name)["templating"]["list"]
        if each["type"] == "constant"
    }


def milliseconds(text: str) -> int:
    """Read a duration of Grafana's: 10s, 1m."""
    number, unit = re.fullmatch(r"(\d+)(ms|[smhd])", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS_MS[unit]


def expand(asked: Asked, view: View) -> str:
    """Return what PostgreSQL gets."""

    def variable(match: re.Match[str]) -> str:
        value = view.variables[match[1]]
        if isinstance(value, list):  # of several that may be chosen, each is quoted
            return ",".join("'" + each.replace("'", "''") + "'" for each in value)
        return value.replace("'", "''")

    sql = re.sub(r"\$(?!__)(\w+)", variable, asked.sql)
    interval_ms = view.interval_ms(asked)
    sql = sql.replace("$__interval_ms", str(interval_ms))
    sql = sql.replace("$__interval", written(interval_ms))

    def macro(match: re.Match[str]) -> str:
        arguments = [each.strip(" ") for each in match[2].split(",")]
        start, end = (f"'{t:%Y-%m-%dT%H:%M:%S.%fZ}'" for t in (view.start, view.end))
        match match[1]:
            case "__timeFrom":
                return start
            case "__timeTo":
                return end
            case "__timeFilter":
                return f"{arguments[0]} BETWEEN {start} AND {end}"
            case "__timeGroupAlias":
                seconds = milliseconds(arguments[1].strip("'")) / 1000
                assert arguments[2:] in ([], ["NULL"])
                if view.timescaledb:
                    return f"time_bucket('{seconds:.3f}s',{arguments[0]}) AS \"time\""
                bucket = f"extract(epoch from {arguments[0]})/{seconds:g}"
                return f'floor({bucket})*{seconds:g} AS "time"'
            case unknown:
                raise AssertionError(f"unknown macro {unknown}")

    sql = re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", macro, sql)
    assert "$" not in sql, sql
    return sql


def written(ms: int) -> str:
    """Write an interval as Grafana does: in the largest unit that it is a multiple of."""
    unit = next(u for u in ("d", "h", "m", "s", "ms") if ms % UNITS_MS[u] == 0)
    return f"{ms // UNITS_MS[unit]}{unit}"
