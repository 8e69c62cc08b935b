"""Messages about alerts, for tests that send, keep or show them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from alerting import rules
from alerting.notifications import Kind, Notification

CPU = Notification(
    kind=Kind.FIRED,
    dedup_key="key",
    thread="thread",
    rule="cpu_usage",
    metric="cpu.usage_percent",
    unit="percent",
    operator=">",
    severity=rules.Severity.WARNING,
    threshold=80.0,
    for_s=60.0,
    at=datetime(2026, 2, 2, 14, 30, tzinfo=UTC),
    server="web",
    value=91.0,
    firing_number=1,
)
DISK = dataclasses.replace(
    CPU,
    dedup_key="hostpulse-abc-1-1-fired",
    thread="hostpulse-abc",
    rule="disk_usage",
    metric="disk_usage.used_percent",
    severity=rules.Severity.CRITICAL,
    threshold=90.0,
    server="web <1>",
    labels={"mount": "/var"},
    value=95.3,
    since=datetime(2026, 2, 2, 14, 28, tzinfo=UTC),
)
