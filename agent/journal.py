"""The test mode of the agent: a side file of everything that was put into the buffer.

HOSTPULSE_TEST_JOURNAL=FILE appends one line of JSON for each batch, flushed before it is sent:

    {"epoch":7,"seq":1,"time_unix_ns":1767225600000000000,"samples":{"cpu":1,"disk_io":2}}

Tests that kill processes compare it with the database. It is for tests only: it grows without
bound and writes on the event loop.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from agent import batches
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "HOSTPULSE_TEST_JOURNAL"


class Journal:
    """Appends to a file; whoever opens it closes it."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)

    def append(self, numbered: batches.NumberedBatch) -> None:
        """Write one line and hand it to the kernel: it survives the death of this process."""
        batch = telemetry_pb2.MetricBatch.FromString(numbered.payload)
        samples = {
            telemetry_pb2.Family.Name(family).removeprefix("FAMILY_").lower(): count
            for family, count in batches.sample_counts(batch).items()
        }
        entry = {
            "epoch": numbered.epoch,
            "seq": numbered.seq,
            "time_unix_ns": numbered.time_unix_ns,
            "samples": samples,
        }
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
