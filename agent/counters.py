"""What the agent counts about itself, for `agent_health`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Running totals since the start; whoever reports them takes differences.

    Attributes:
        sent_batches: Batches that a gateway gave a verdict on.
        failed_sends: Batches that found no stream when they were ready while the last attempt to
            get one had failed, and batches whose stream broke before their verdict.
    """

    sent_batches: int = 0
    failed_sends: int = 0
