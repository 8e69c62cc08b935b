"""What alert workers count, for /metrics: they are processes of their own, without a port.

They write it down with their work, in the database, so any gateway can show it: the same figures in
each, of all workers together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storage.database import Pool

DEADLINE_S = 3.0  # a scrape shows the gateway's own figures in any case

_WORK = """
    SELECT regexp_replace(key, '^samples of ', '') AS work, runs, spent_ms / 1000 AS spent_s,
           took_ms / 1000 AS took_s, rules, servers, findings,
           extract(epoch FROM now() - last_at)::float8 AS age_s
    FROM alert_work WHERE last_at IS NOT NULL ORDER BY key
"""
_OUTBOX = """
    SELECT count(*) FILTER (WHERE attempts = 0) AS fresh,
           count(*) FILTER (WHERE attempts > 0) AS retried,
           coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_s
    FROM notification WHERE state = 'pending'
"""
_SENDS = "SELECT kind, outcome, sends FROM alert_send_count ORDER BY kind, outcome"
_ALERTS = """
    SELECT state, count(*) AS alerts FROM alert
    WHERE state IN ('pending', 'firing', 'no_data') GROUP BY state
"""


class _Families:
    """Metrics that are known once and thrown away."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._found


async def render(pool: Pool) -> bytes:
    """Return the metrics in Prometheus' text format; nothing while the database is away."""
    try:
        async with asyncio.timeout(DEADLINE_S), pool.acquire() as connection:
            work = await connection.fetch(_WORK)
            outbox = await connection.fetchrow(_OUTBOX)
            sends = await connection.fetch(_SENDS)
            alerts = await connection.fetch(_ALERTS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, errors.HostpulseError):
        return b""
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Families([*_of_work(work), *_of_messages(outbox, sends), _open(alerts)]))
    return prometheus_client.generate_latest(registry)


def _of_work(rows: Sequence[asyncpg.Record]) -> list[Metric]:
    """Return what evaluation costs: by table, for one statement serves all rules of a table."""
    runs = CounterMetricFamily(
        "hostpulse_alert_evaluations", "Evaluations of all rules of a table", labels=["work"]
    )
    spent = CounterMetricFamily(
        "hostpulse_alert_evaluation_seconds", "Spent on them, results stored", labels=["work"]
    )
    gauges = {
        "took_s": GaugeMetricFamily(
            "hostpulse_alert_last_evaluation_seconds", "The last one", labels=["work"]
        ),
        "age_s": GaugeMetricFamily(
            "hostpulse_alert_evaluation_age_seconds", "Since the last one", labels=["work"]
        ),
        "rules": GaugeMetricFamily(
            "hostpulse_alert_evaluation_rules", "Rules in the last one", labels=["work"]
        ),
        "findings": GaugeMetricFamily(
            "hostpulse_alert_evaluation_findings",
            "Series of the last one that breached or have an open alert",
            labels=["work"],
        ),
    }
    each = GaugeMetricFamily(
        "hostpulse_alert_evaluation_seconds_per_server",
        "The last one, divided by the servers",
        labels=["work"],
    )
    for row in rows:
        name = [row["work"]]
        runs.add_metric(name, row["runs"])
        spent.add_metric(name, row["spent_s"])
        for column, gauge in gauges.items():
            gauge.add_metric(name, row[column] or 0)
        each.add_metric(name, (row["took_s"] or 0) / max(row["servers"] or 0, 1))
    return [runs, spent, *gauges.values(), each]


def _of_messages(outbox: asyncpg.Record | None, sends: Sequence[asyncpg.Record]) -> list[Metric]:
    """Return what waits to be sent, and what became of attempts."""
    depth = GaugeMetricFamily(
        "hostpulse_alert_outbox_messages", "Messages to be sent", labels=["tried"]
    )
    depth.add_metric(["no"], outbox["fresh"] if outbox else 0)
    depth.add_metric(["yes"], outbox["retried"] if outbox else 0)
    oldest = GaugeMetricFamily(
        "hostpulse_alert_outbox_oldest_seconds", "Age of the oldest message to be sent"
    )
    oldest.add_metric([], outbox["oldest_s"] if outbox else 0)
    counts = CounterMetricFamily(
        "hostpulse_alert_sends",
        "Attempts to send, by kind of channel and what came of them",
        labels=["kind", "outcome"],
    )
    for row in sends:
        counts.add_metric([row["kind"], row["outcome"]], row["sends"])
    return [depth, oldest, counts]


def _open(rows: Sequence[asyncpg.Record]) -> Metric:
    """Return how many alerts are looked at."""
    gauge = GaugeMetricFamily("hostpulse_alerts", "Alerts that are not well", labels=["state"])
    known = {row["state"]: row["alerts"] for row in rows}
    for state in ("firing", "no_data", "pending"):
        gauge.add_metric([state], known.get(state, 0))
    return gauge
