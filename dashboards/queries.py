"""A statement as Grafana's PostgreSQL data source takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import dashboard

PLUGIN = "grafana-postgresql-datasource"
SOURCE = dashboard.DataSourceRef(type_val=PLUGIN, uid="${datasource}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(variants.Dataquery, cogbuilder.Builder["Query"]):
    """One statement; the SDK has no model of this data source.

    `time_series` needs a column `time`, and takes a text column `metric` as the series' name.
    """

    sql: str
    shape: Literal["time_series", "table"]
    ref: str = "A"

    def build(self) -> Query:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return what Grafana stores."""
        return {
            "refId": self.ref,
            "datasource": SOURCE,
            "format": self.shape,
            "rawQuery": True,
            "editorMode": "code",
            "rawSql": self.sql,
        }


def series(*statements: str) -> list[Query]:
    """Make queries for time series, called A, B, … ."""
    return [
        Query(sql=statement, shape="time_series", ref=chr(ord("A") + number))
        for number, statement in enumerate(statements)
    ]


def rows(statement: str) -> list[Query]:
    """Make a query for a table."""
    return [Query(sql=statement, shape="table")]
