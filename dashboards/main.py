"""The dashboard *main*: every server's state, the fleet as a whole, and what is wrong."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync

from dashboards import panels, variables
from dashboards.statements import Curve, fleet

UID = "hostpulse-main"
SERVER_PAGE = "/d/hostpulse-server?var-server=${__data.fields.id}&${__url_time_range}"
FRESH = "5 minutes"  # an older value is not what a server does now

# Silence as the agents' rule judges it: longer than 60 s and than three of their intervals.
STATES = """
states AS (
  SELECT s.id, s.name, s.last_seen,
         CASE WHEN s.status = 'online' AND s.last_seen < now() - make_interval(
                secs => greatest(60, 3 * (SELECT min(f.interval_s) FROM family_interval f
                                          WHERE f.server_id = s.id)))
                THEN 'offline'
              WHEN s.status <> 'online' THEN s.status
              ELSE coalesce(a.severity, 'ok') END AS state,
         coalesce(a.firing, 0) AS firing
  FROM server s
  LEFT JOIN (
    SELECT server_id, count(*) AS firing,
           CASE WHEN bool_or(severity = 'critical') THEN 'critical' ELSE 'warning' END AS severity
    FROM alert_current WHERE state = 'firing' GROUP BY server_id
  ) a ON a.server_id = s.id
)"""
SERVERS = f"""WITH {STATES.strip()}
SELECT s.name AS server, s.state, c.usage_percent AS cpu, c.load1 AS load, m.used_percent AS memory,
       d.used_percent AS disk, d.mount AS "fullest", n.rx AS received, n.tx AS sent,
       s.firing AS alerts, s.last_seen AS "last seen", s.id
FROM states s
LEFT JOIN LATERAL (
  SELECT usage_percent, load1 FROM cpu
  WHERE server_id = s.id AND time > now() - interval '{FRESH}' ORDER BY time DESC LIMIT 1
) c ON true
LEFT JOIN LATERAL (
  SELECT used_percent FROM memory
  WHERE server_id = s.id AND time > now() - interval '{FRESH}' ORDER BY time DESC LIMIT 1
) m ON true
LEFT JOIN LATERAL (
  SELECT mount, used_percent FROM (
    SELECT DISTINCT ON (mount) mount, used_percent FROM disk_usage
    WHERE server_id = s.id AND time > now() - interval '{FRESH}' ORDER BY mount, time DESC
  ) newest ORDER BY used_percent DESC NULLS LAST LIMIT 1
) d ON true
LEFT JOIN LATERAL (
  SELECT sum(rx_bytes_per_s)::float8 AS rx, sum(tx_bytes_per_s)::float8 AS tx FROM network
  WHERE server_id = s.id AND time > now() - interval '{FRESH}' AND time = (
    SELECT time FROM network
    WHERE server_id = s.id AND time > now() - interval '{FRESH}' ORDER BY time DESC LIMIT 1)
) n ON true
ORDER BY array_position('{{offline,critical,warning,ok,stopped,new}}'::text[], s.state), s.name"""
BY_STATE = f"WITH {STATES.strip()}\nSELECT count(*) FROM states WHERE state"
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
        .with_panel(panels.number("Servers", "SELECT count(*) FROM server"))
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
        .with_panel(
            _fleet(
                "CPU",
                fleet(
                    Curve(title="average", metric="cpu.usage_percent"),
                    Curve(title="highest", metric="cpu.usage_percent", aggregate="max"),
                    over_servers="avg",
                ),
                "percent",
            )
        )
        .with_panel(
            _fleet(
                "Memory",
                fleet(
                    Curve(title="average", metric="memory.used_percent"),
                    Curve(title="highest", metric="memory.used_percent", aggregate="max"),
                    over_servers="avg",
                ),
                "percent",
            )
        )
        .with_panel(
            _fleet(
                "Disks",
                fleet(
                    Curve(title="average", metric="disk.used_percent"),
                    Curve(title="fullest", metric="disk.used_percent", aggregate="max"),
                    over_servers="avg",
                ),
                "percent",
            )
        )
        .with_panel(
            _fleet(
                "Network, all servers together",
                fleet(
                    Curve(title="received", metric="network.rx_bytes_per_s"),
                    Curve(title="sent", metric="network.tx_bytes_per_s"),
                    over_servers="sum",
                ),
                "bytes_per_s",
            )
        )
    )


def _fleet(title: str, statement: str, unit: str) -> panels.timeseries.Panel:
    """Make a panel that has few enough points for the samples of all servers to be read."""
    return panels.curves(
        title,
        statement,
        unit=unit,
        shortest=panels.MINUTE,
        highest=100 if unit == "percent" else None,
    ).max_data_points(panels.FLEET_POINTS)
