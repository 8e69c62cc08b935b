"""What the dashboards are asked for: a data source, how long tiers are kept, what to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.models.dashboard import (
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards.queries import PLUGIN, SOURCE
from dashboards.statements import FROM, HOUR_WIDTH, SERVER
from storage.retention import Retention

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder

SERVERS = "SELECT name AS __text, id::text AS __value FROM server ORDER BY name"


def of_fleet() -> list[Builder[VariableModel]]:
    """Return the variables that every dashboard has."""
    days = {name: span.days for name, span in Retention().tiers.items()}
    return [
        DatasourceVariable("datasource").label("data source").type(PLUGIN),
        _constant("raw_kept", f"{days['raw']} days", "How long raw samples are kept."),
        _constant("minutes_kept", f"{days['1m']} days", "How long minutes are kept."),
    ]


def of_server() -> list[Builder[VariableModel]]:
    """Return those of one server, and of its parts."""
    server = (
        QueryVariable("server")
        .label("server")
        .datasource(SOURCE)
        .query(SERVERS)
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    )
    return [
        *of_fleet(),
        server,
        _part("interface", "network"),
        _part("mount", "disk_usage"),
    ]


def _constant(name: str, value: str, description: str) -> ConstantVariable:
    """Make a value that is edited in the settings of the dashboard, where retention differs."""
    return ConstantVariable(name).description(description).value(value)


def _part(label: str, table: str) -> QueryVariable:
    """Make a choice of the labels that a server had in the range; all of them to begin with."""
    begin = f"date_bin('{HOUR_WIDTH}', {FROM}, TIMESTAMPTZ 'epoch')"
    return (
        QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(
            f"SELECT DISTINCT t.{label} FROM {table}_1h t\n"
            f"WHERE {SERVER} AND t.time BETWEEN {begin} AND $__timeTo()\nORDER BY 1"
        )
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.DISABLED)
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
