"""The dashboard *server detail*: everything about one server over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    Row,
)
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from dashboards import main, panels, variables
from dashboards.queries import SOURCE, Query
from dashboards.statements import (
    MINUTE_WIDTH,
    SERVER,
    Curve,
    cores,
    history,
    top_processes,
    unit_of,
)
from storage import catalog

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import AnnotationTarget

UID = "hostpulse-server"
ON_MOUNT = "t.mount = ANY (ARRAY[$mount]::text[])"
ON_INTERFACE = "t.interface = ANY (ARRAY[$interface]::text[])"
CONNECTIONS = tuple(
    Curve(title=column.name.replace("_", "-"), metric=f"tcp.{column.name}")
    for column in catalog.TCP.values
    if column.name != "total"
)
PARTITIONS = f"""SELECT d.mount, {{value}} AS "{{title}}"
FROM (
  SELECT DISTINCT ON (t.mount) t.* FROM disk_usage_1m t
  WHERE {SERVER} AND {ON_MOUNT}
    AND t.time BETWEEN greatest(date_bin('{MINUTE_WIDTH}', $__timeFrom()::timestamptz,
          TIMESTAMPTZ 'epoch'), $__timeTo()::timestamptz - interval '1 hour') AND $__timeTo()
  ORDER BY t.mount, t.time DESC
) d
WHERE {{value}} IS NOT NULL
ORDER BY 2 DESC"""
# An alert is a band from when it fired until it was resolved; what fired before the range counts.
ALERTS = f"""SELECT t.time, coalesce(least(ended.time, now()), now()) AS timeend,
       t.rule || coalesce(' ' || nullif((SELECT string_agg(l.value, ' ' ORDER BY l.key)
         FROM jsonb_each_text(t.labels) l), ''), '') AS text, t.severity AS tags
FROM alert_log t
LEFT JOIN LATERAL (
  SELECT min(r.time) AS time FROM alert_log r
  WHERE r.alert_id = t.alert_id AND r.time > t.time AND r.change IN ('resolved', 'withdrawn')
) ended ON true
WHERE t.change = 'fired' AND {SERVER} AND t.time <= $__timeTo()
  AND t.time > $__timeFrom()::timestamptz - interval '7 days'
  AND coalesce(ended.time, now()) >= $__timeFrom()
ORDER BY t.time DESC LIMIT 200"""
EVENTS = f"""SELECT t.time, t.kind AS text, 'event' AS tags FROM event t
WHERE {SERVER} AND $__timeFilter(t.time)
ORDER BY t.time DESC LIMIT 200"""


def build() -> Dashboard:
    """Make the dashboard."""
    board = (
        Dashboard("hostpulse: server detail")
        .uid(UID)
        .description("One server over time. Generated: `make dashboards`.")
        .tags(["hostpulse"])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .variables(variables.of_server())
        .annotation(_annotation("Alerts", ALERTS, "red"))
        .annotation(_annotation("Boots and versions", EVENTS, "blue"))
        .link(
            DashboardLink("All servers")
            .type(DashboardLinkType.LINK)
            .url(f"/d/{main.UID}")
            .keep_time(True)
        )
    )
    for add in (_processor, _memory, _disks, _network, _agent):
        add(board)
    return board


def _processor(board: Dashboard) -> None:
    """Add what the CPU does, and who has it do so."""
    board.with_row(Row("CPU")).with_panel(
        _curves(
            "CPU by what it does",
            *(
                Curve(title=each, metric=f"cpu.{each}_percent")
                for each in ("user", "system", "iowait", "nice", "irq", "softirq", "steal")
            ),
            stacked=True,
            highest=100,
        )
    ).with_panel(panels.heat("Cores", cores())).with_panel(
        _curves(
            "Load",
            *(Curve(title=f"{n} min", metric=f"cpu.load{n}") for n in (1, 5, 15)),
            width=8,
        )
    ).with_panel(
        _curves(
            "Switches and interrupts",
            Curve(title="context switches", metric="cpu.context_switches_per_s"),
            Curve(title="interrupts", metric="cpu.interrupts_per_s"),
            width=8,
        )
    ).with_panel(_processes("CPU", "process.cpu_percent", width=8))


def _memory(board: Dashboard) -> None:
    """Add memory: its first band is total - free - buffers - cached."""
    board.with_row(Row("Memory")).with_panel(
        _curves(
            "Memory",
            Curve(
                title="used",
                metric="memory.total_bytes",
                minus=("memory.free_bytes", "memory.buffers_bytes", "memory.cached_bytes"),
            ),
            *(
                Curve(title=each, metric=f"memory.{each}_bytes")
                for each in ("buffers", "cached", "free")
            ),
            stacked=True,
        )
    ).with_panel(_processes("memory", "process.memory_rss_bytes", width=12)).with_panel(
        _curves(
            "Memory and swap in use",
            Curve(title="memory", metric="memory.used_percent"),
            Curve(title="swap", metric="memory.swap_used_percent"),
            highest=100,
        )
    ).with_panel(
        _curves(
            "Page faults",
            Curve(title="all", metric="memory.page_faults_per_s"),
            Curve(title="from disk", metric="memory.major_page_faults_per_s"),
        )
    )


def _disks(board: Dashboard) -> None:
    """Add how full partitions are, and how busy devices."""
    used, inodes = "d.used_percent", "d.inodes_used_percent"
    board.with_row(Row("Disks")).with_panel(
        panels.gauges("Partitions", PARTITIONS.format(value=used, title="used"), width=6)
    ).with_panel(
        panels.gauges("Inodes", PARTITIONS.format(value=inodes, title="inodes used"), width=6)
    ).with_panel(
        _labelled(
            "Partitions over time",
            Curve(title="used", metric="disk.used_percent"),
            label="mount",
            where=ON_MOUNT,
            shortest=panels.MINUTE,
        )
    )
    for title, metrics in (
        ("Throughput", {"read": "read_bytes_per_s", "written": "write_bytes_per_s"}),
        ("Requests (IOPS)", {"reads": "reads_per_s", "writes": "writes_per_s"}),
        ("Time of a request", {"": "await_ms"}),
        ("Requests in flight", {"": "queue_length"}),
    ):
        board.with_panel(
            _labelled(
                title,
                *(
                    Curve(title=name or "value", metric=f"disk_io.{metric}")
                    for name, metric in metrics.items()
                ),
                label="device",
            )
        )


def _network(board: Dashboard) -> None:
    """Add traffic, what is lost of it, and connections."""
    board.with_row(Row("Network"))
    for title, metrics in (
        ("Traffic", {"in": "rx_bytes_per_s", "out": "tx_bytes_per_s"}),
        ("Packet loss", {"": "packet_loss_percent"}),
        ("Errors", {"in": "rx_errors_per_s", "out": "tx_errors_per_s"}),
        ("Drops", {"in": "rx_drops_per_s", "out": "tx_drops_per_s"}),
    ):
        board.with_panel(
            _labelled(
                title,
                *(
                    Curve(title=name or "value", metric=f"network.{metric}")
                    for name, metric in metrics.items()
                ),
                label="interface",
                where=ON_INTERFACE,
            )
        )
    board.with_panel(_curves("Connections by state", *CONNECTIONS, stacked=True, width=24))


def _agent(board: Dashboard) -> None:
    """Add what waits for what, and what watching costs."""
    board.with_row(Row("Pressure and agent")).with_panel(
        _curves(
            "Pressure: share of time in which tasks waited",
            *(
                Curve(title=column.name.removesuffix("_avg10").replace("_", " "), metric=name)
                for column in catalog.PRESSURE.values
                for name in (f"pressure.{column.name}",)
            ),
        )
    ).with_panel(
        _curves("CPU of the agent", Curve(title="of one core", metric="agent_health.cpu_percent"))
    )


def _curves(
    title: str,
    *curves: Curve,
    width: int = 12,
    stacked: bool = False,
    highest: float | None = None,
) -> panels.timeseries.Panel:
    """Make a panel of columns of one table."""
    return panels.curves(
        title,
        history(*curves),
        unit=unit_of(curves),
        width=width,
        stacked=stacked,
        highest=highest,
    )


def _labelled(
    title: str, *curves: Curve, label: str, where: str = "", shortest: str = panels.SHORTEST
) -> panels.timeseries.Panel:
    """Make a panel with a series for each curve and label."""
    several = len(curves) > 1
    return panels.curves(
        title,
        *(
            history(each, label=label, called=each.title if several else "", where=where)
            for each in curves
        ),
        unit=unit_of(curves),
        shortest=shortest,
    )


def _processes(what: str, metric: str, *, width: int) -> panels.table.Panel:
    """Make a table of the programs that take most."""
    unit = catalog.find_metric(metric).unit
    return panels.grid(
        f"Top 10 by {what}",
        top_processes(metric),
        units={"average": unit, "highest": unit},
        width=width,
        description="Processes of one name and user together, averaged over the whole range.",
    )


def _annotation(name: str, statement: str, colour: str) -> AnnotationQuery:
    """Make marks on the time axis."""
    target = Query(sql=statement, shape="table", ref="Anno")
    return (
        AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(colour)
        # The SDK knows the targets of Grafana's own source only; its text says so, too.
        .target(cast("AnnotationTarget", target))
    )
