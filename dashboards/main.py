"""The dashboard *main*: every server's state, the fleet as a whole, and what is wrong."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

from dashboards import panels, variables
from dashboards.statements import Curve, fleet, unit_of
from storage.now import STATES as WORST_FIRST
from storage.now import newest, states

UID = "hostpulse-main"
SERVER_PAGE = "/d/hostpulse-server?var-server=${__data.fields.id}&${__url_time_range}"
STATES = f"states AS (\n  {states('now()')}\n)"
SERVERS = f"""WITH {STATES}
SELECT s.name AS server, s.state, c.usage_percent AS cpu, c.load1 AS load, m.used_percent AS memory,
       d.used_percent AS disk, d.mount AS "fullest", n.rx AS received, n.tx AS sent,
       s.firing AS alerts, s.last_seen AS "last seen", s.id
FROM states s
{newest("now()")}
ORDER BY array_position('{{{",".join(WORST_FIRST)}}}'::text[], s.state), s.name"""
BY_STATE = f"WITH {STATES}\nSELECT count(*) FROM states WHERE state"
FIRING = "SELECT count(*) FROM alert_current WHERE state = 'firing'"
ALERTS = """SELECT a.state, a.severity, coalesce(a.server, 'all servers') AS server, a.rule,
       (SELECT string_agg(l.key || '=' || l.value, ', ' ORDER BY l.key)
        FROM jsonb_each_text(a.labels) l) AS labels,
       a.value, coalesce(a.fired_at, a.run_started_at) AS since,
       a.acknowledged_by AS "acknowledged by", a.server_id AS id
FROM alert_current a
WHERE a.state IN ('firing', 'no_data', 'pending')
ORDER BY array_position('{firing,no_data,pending}'::text[], a.state), a.severity, since DESC
LIMIT 200"""


def build() -> Dashboard:
    """Make the dashboard."""
    return (
        Dashboard("hostpulse: main")
        .uid(UID)
        .description("All servers, the fleet as a whole, alerts. Generated: `make dashboards`.")
        .tags(["hostpulse"])
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .variables(variables.of_fleet())
        .with_panel(panels.number("All servers", "SELECT count(*) FROM server"))
        .with_panel(panels.number("Well", f"{BY_STATE} = 'ok'"))
        .with_panel(panels.number("Offline", f"{BY_STATE} = 'offline'", worse_from=1))
        .with_panel(panels.number("Stopped or new", f"{BY_STATE} IN ('stopped', 'new')"))
        .with_panel(panels.number("Alerts firing", FIRING, worse_from=1))
        .with_panel(
            panels.number("Not acknowledged", f"{FIRING} AND acknowledged_at IS NULL", worse_from=1)
        )
        .with_panel(
            panels.grid(
                "Servers",
                SERVERS,
                units={
                    "cpu": "percent",
                    "memory": "percent",
                    "disk": "percent",
                    "received": "bytes_per_s",
                    "sent": "bytes_per_s",
                },
                width=24,
                height=12,
                links={"server": SERVER_PAGE},
                hidden=("id",),
                states=("state",),
                bars=("cpu", "memory", "disk"),
                description="The newest values of the last five minutes, the worst state first.",
            )
        )
        .with_panel(
            panels.grid(
                "Alerts",
                ALERTS,
                units={},
                width=24,
                height=8,
                links={"server": SERVER_PAGE},
                hidden=("id",),
                states=("state", "severity"),
                description="Firing, without data, or about to fire.",
            )
        )
        .with_row(Row("The fleet"))
        .with_panel(_fleet("CPU", *_average_and("highest", "cpu.usage_percent")))
        .with_panel(_fleet("Memory", *_average_and("highest", "memory.used_percent")))
        .with_panel(_fleet("Disks", *_average_and("fullest", "disk.used_percent")))
        .with_panel(
            _fleet(
                "Network, all servers together",
                Curve(title="received", metric="network.rx_bytes_per_s"),
                Curve(title="sent", metric="network.tx_bytes_per_s"),
            )
        )
    )


def _average_and(most: str, metric: str) -> tuple[Curve, Curve]:
    """Return the average of all servers, and the one that has the most."""
    return (
        Curve(title="average", metric=metric),
        Curve(title=most, metric=metric, aggregate="max"),
    )


def _fleet(title: str, *curves: Curve) -> panels.timeseries.Panel:
    """Make a panel of all servers: percentages as their average, what adds up as its sum.

    It has few enough points for the samples of all servers to be read.
    """
    unit = unit_of(curves)
    is_share = unit == "percent"
    return panels.curves(
        title,
        fleet(*curves, over_servers="avg" if is_share else "sum"),
        unit=unit,
        shortest=panels.MINUTE,
        highest=100 if is_share else None,
    ).max_data_points(panels.FLEET_POINTS)
