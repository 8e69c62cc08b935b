"""What the gateway counts about itself, for /metrics (Prometheus naming: base units, _total)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One registry a process, so that tests can run two gateways in one."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.sessions = Gauge("hostpulse_sessions", "Open agent streams", registry=registry)
        self.batches_received = Counter(
            "hostpulse_batches_received", "Batches read from streams", registry=registry
        )
        self.bytes_received = Counter(
            "hostpulse_received_bytes", "Message bytes read from streams", registry=registry
        )
        self.samples_stored = Counter(
            "hostpulse_samples_stored", "Rows committed", ["table"], registry=registry
        )
        self.samples_rejected = Counter(
            "hostpulse_samples_rejected", "Samples refused one by one", registry=registry
        )
        self.batches_rejected = Counter(
            "hostpulse_batches_rejected", "Batches refused whole", ["reason"], registry=registry
        )
        self.duplicates = Counter(
            "hostpulse_duplicate_batches", "Batches sent again after commit", registry=registry
        )
        self.queue_batches = Gauge(
            "hostpulse_ingest_queue_batches", "Batches waiting for a flush", registry=registry
        )
        self.backlog_batches = Gauge(
            "hostpulse_ingest_backlog_batches",
            "Batches of the backlog waiting for a flush",
            registry=registry,
        )
        self.flush_seconds = Histogram(
            "hostpulse_flush_seconds", "One transaction", buckets=SECONDS, registry=registry
        )
        self.delay_seconds = Histogram(
            "hostpulse_ingest_delay_seconds",
            "From arrival to commit, of the oldest batch of each flush",
            buckets=SECONDS,
            registry=registry,
        )
        self.flush_failures = Counter(
            "hostpulse_flush_failures", "Transactions failed", ["verdict"], registry=registry
        )
        self.streams_refused = Counter(
            "hostpulse_streams_refused", "Streams ended with an error", ["code"], registry=registry
        )
        self.maintenance_age_seconds = Gauge(
            "hostpulse_maintenance_age_seconds",
            "Since this gateway last saw partitions maintained",
            registry=registry,
        )
        self.rollup_lag_seconds = Gauge(
            "hostpulse_rollup_lag_seconds",
            "By how much the slowest rollup is behind its buckets",
            registry=registry,
        )
        self.database_up = Gauge(
            "hostpulse_database_up", "Whether the database answers", registry=registry
        )

    def count_stored(self, rows: Mapping[str, int]) -> None:
        """Count committed rows by table; once a flush, because a label costs a microsecond."""
        for table, count in rows.items():
            self.samples_stored.labels(table=table).inc(count)
