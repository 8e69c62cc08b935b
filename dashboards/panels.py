"""The kinds of panels, with what all of one kind have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps

from dashboards.queries import SOURCE, rows, series

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH = 24
# A hole of this length is shown as one; shorter ones are joined: a family may come once a minute.
HOLE_MS = 180_000
SHORTEST = "10s"  # between two points, where the family comes more often than once a minute
MINUTE = "1m"
FLEET_POINTS = 240  # a quarter of a day at one a minute

UNITS = {
    "percent": "percent",
    "bytes": "bytes",
    "bytes_per_s": "Bps",
    "packets_per_s": "pps",
    "per_s": "cps",
    "ms": "ms",
    "mbps": "Mbits",
    "1": "short",
}
"""What Grafana calls the units of the catalog."""

COLOURS = {"ok": "green", "warning": "orange", "critical": "red", "offline": "dark-red"}
STATES = {**COLOURS, "stopped": "blue", "new": "text", "firing": "red", "no_data": "purple"}

Panel = TypeVar("Panel", bargauge.Panel, heatmap.Panel, stat.Panel, table.Panel, timeseries.Panel)


def curves(
    title: str,
    *statements: str,
    unit: str,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    highest: float | None = None,
    shortest: str = SHORTEST,
) -> timeseries.Panel:
    """Make a panel of lines over time.

    Args:
        title: of the panel.
        statements: each a query of its own.
        unit: as the catalog calls it.
        width: of 24.
        height: in Grafana's rows.
        stacked: whether the curves lie on one another.
        highest: end of the axis, where it has one.
        shortest: interval; samples don't come more often.
    """
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(60 if stacked else 10)
        .show_points(kinds.VisibilityMode.AUTO)
        .span_nulls(HOLE_MS)
        .min(0)
        .interval(shortest)
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
    if highest is not None:
        panel.max(highest)
    for query in series(*statements):
        panel.with_target(query)
    return _placed(panel, title, width=width, height=height).unit(UNITS[unit])


def grid(
    title: str,
    statement: str,
    *,
    units: Mapping[str, str],
    width: int = 12,
    height: int = 8,
    links: Mapping[str, str] | None = None,
    hidden: tuple[str, ...] = (),
    states: tuple[str, ...] = (),
    bars: tuple[str, ...] = (),
    description: str = "",
) -> table.Panel:
    """Make a table.

    Args:
        title: of the panel.
        statement: whose columns are shown as they are called.
        units: of columns, as the catalog calls them.
        width: of 24.
        height: in Grafana's rows.
        links: from a column's cells to an address.
        hidden: columns that links need and nobody reads.
        states: columns in which words have colours.
        bars: columns in percent that are drawn as bars.
        description: behind the i in the corner.
    """
    panel = table.Panel().show_header(True).cell_height(kinds.TableCellHeight.SM)
    properties: dict[str, list[models.DynamicConfigValue]] = {}

    def add(column: str, name: str, value: object) -> None:
        found = properties.setdefault(column, [])
        found.append(models.DynamicConfigValue(id_val=name, value=value))

    for column, unit in units.items():
        add(column, "unit", UNITS[unit])
        add(column, "decimals", 1)
    for column in hidden:
        add(column, "custom.hidden", True)
    for column in states:
        options = {
            word: {"text": word, "color": colour, "index": number}
            for number, (word, colour) in enumerate(STATES.items())
        }
        add(column, "mappings", [{"type": "value", "options": options}])
        add(column, "custom.cellOptions", {"type": "color-text"})
    for column in bars:
        add(column, "min", 0)
        add(column, "max", 100)
        add(column, "custom.cellOptions", {"type": "gauge", "mode": "basic"})
    for column, address in (links or {}).items():
        add(column, "links", [{"title": "open", "url": address}])
    for column, found in properties.items():
        panel.override_by_name(column, found)
    (query,) = rows(statement)
    panel.with_target(query).thresholds(_thresholds(80, 90))
    if description:
        panel.description(description)
    return _placed(panel, title, width=width, height=height)


def number(
    title: str, statement: str, *, unit: str = "1", width: int = 4, worse_from: float | None = None
) -> stat.Panel:
    """Make one number, the last one of a table's only row.

    Args:
        title: of the panel.
        statement: that answers with one row and one column.
        unit: as the catalog calls it.
        width: of 24.
        worse_from: from where on it is red.
    """
    panel = (
        stat.Panel()
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(
            dashboard.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps(
                [models.Threshold(color="green", value=None)]
                + ([] if worse_from is None else [models.Threshold(color="red", value=worse_from)])
            )
        )
    )
    (query,) = rows(statement)
    return _placed(panel.with_target(query), title, width=width, height=4).unit(UNITS[unit])


def gauges(title: str, statement: str, *, width: int = 12, height: int = 8) -> bargauge.Panel:
    """Make a bar for each row: a column of names, and one of percentages."""
    panel = (
        bargauge.Panel()
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(True))
        .min(0)
        .max(100)
        .thresholds(_thresholds(80, 90))
    )
    (query,) = rows(statement)
    return _placed(panel.with_target(query), title, width=width, height=height).unit("percent")


def heat(title: str, statement: str, *, width: int = 12, height: int = 8) -> heatmap.Panel:
    """Make a heat map of percentages: each series is a row of cells."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME)
            .scheme("Turbo")
            .steps(64)
            .min(0)
            .max(100)
        )
        .cell_gap(0)
        .cell_values(heatmap.CellValues().unit("percent").decimals(0))
        .y_axis(heatmap.YAxisConfig().unit("short").axis_label("core"))
        .show_color_scale(True)
        .mode(kinds.TooltipDisplayMode.SINGLE)
        .interval(SHORTEST)
    )
    (query,) = series(statement)
    return _placed(panel.with_target(query), title, width=width, height=height)


def _placed(panel: Panel, title: str, *, width: int, height: int) -> Panel:
    """Give a panel its title, its size and where its data come from."""
    panel.title(title).span(width).height(height).datasource(SOURCE)
    return panel


def _thresholds(warning: float, critical: float) -> dashboard.ThresholdsConfig:
    """Colour a percentage as the rules that come with hostpulse judge disks."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(color="green", value=None),
                models.Threshold(color="orange", value=warning),
                models.Threshold(color="red", value=critical),
            ]
        )
    )
