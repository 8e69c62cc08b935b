"""What the agent does that a gateway may change: when it reads what, and how much it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.batches import BatchLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.buffer import BufferBounds
    from agent.collectors import CollectorSettings
    from hostpulse.v1 import telemetry_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The part of the settings that a push may change.

    Attributes:
        intervals_s: Seconds between two readings, for every family that is on.
        spool: How much is kept on disk.
        batch: The most that a new batch may hold.
    """

    intervals_s: Mapping[telemetry_pb2.Family, float]
    collectors: CollectorSettings
    spool: BufferBounds
    batch: BatchLimits = field(default_factory=BatchLimits)
