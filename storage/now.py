"""What servers do now, as SQL: for the readers of this package, and for dashboards.

Everything that it reads is open to the role that may only read.
"""

from __future__ import annotations

FRESH = "5 minutes"  # an older value is not what a server does now
STATES = ("offline", "critical", "warning", "ok", "stopped", "new")  # the worst first


def silent(now: str) -> str:
    """Return a condition: `s`, which was online, is silent for longer than 60 s and 3 intervals.

    Args:
        now: an expression.
    """
    return f"""s.status = 'online' AND s.last_seen < {now} - make_interval(
              secs => greatest(60, 3 * (SELECT min(f.interval_s) FROM family_interval f
                                        WHERE f.server_id = s.id)))"""  # noqa: S608 - an expression of ours


def states(now: str) -> str:
    """Return a statement that gives each server's id, name, last_seen, state and firing alerts.

    Args:
        now: an expression.
    """
    return f"""SELECT s.id, s.name, s.last_seen,
       CASE WHEN {silent(now)}
              THEN 'offline'
            WHEN s.status <> 'online' THEN s.status
            ELSE coalesce(a.severity, 'ok') END AS state,
       coalesce(a.firing, 0) AS firing
FROM server s
LEFT JOIN (
  SELECT server_id, count(*) AS firing,
         CASE WHEN bool_or(severity = 'critical') THEN 'critical' ELSE 'warning' END AS severity
  FROM alert_current WHERE state = 'firing' GROUP BY server_id
) a ON a.server_id = s.id"""  # noqa: S608 - an expression of ours


def newest(now: str) -> str:
    """Return joins that give each row of `s` its newest values: c, m, d (fullest mount), n (sums).

    Args:
        now: an expression.
    """
    fresh = f"server_id = s.id AND time > {now} - interval '{FRESH}' AND time <= {now}"
    return f"""LEFT JOIN LATERAL (
  SELECT usage_percent, load1 FROM cpu WHERE {fresh} ORDER BY time DESC LIMIT 1
) c ON true
LEFT JOIN LATERAL (
  SELECT used_percent FROM memory WHERE {fresh} ORDER BY time DESC LIMIT 1
) m ON true
LEFT JOIN LATERAL (
  SELECT mount, used_percent FROM (
    SELECT DISTINCT ON (mount) mount, used_percent FROM disk_usage
    WHERE {fresh} ORDER BY mount, time DESC
  ) each_mount ORDER BY used_percent DESC NULLS LAST LIMIT 1
) d ON true
LEFT JOIN LATERAL (
  SELECT sum(rx_bytes_per_s)::float8 AS rx, sum(tx_bytes_per_s)::float8 AS tx FROM network
  WHERE {fresh} AND time = (SELECT time FROM network WHERE {fresh} ORDER BY time DESC LIMIT 1)
) n ON true"""  # noqa: S608 - an expression of ours
