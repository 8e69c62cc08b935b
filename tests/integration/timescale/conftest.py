"""The TimescaleDB of these tests, and its clients."""

from __future__ import annotations

from tests.timescale.clients import connect
from tests.timescale.fixtures import (
    timescale,
    timescale_database,
    timescale_migrated,
    timescale_wasm,
)

__all__ = ["connect", "timescale", "timescale_database", "timescale_migrated", "timescale_wasm"]
