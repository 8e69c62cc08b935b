"""What the HTTP API is given by the process that serves it."""

from __future__ import annotations

from collector_gateway.services import Readiness, Rows, Services, Store

__all__ = ["Readiness", "Rows", "Services", "Store"]
