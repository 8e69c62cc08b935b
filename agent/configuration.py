"""What the agent is to do: its own settings, and over them what a gateway has pushed.

    pushed ─▶ overlay ─▶ applied ─▶ kept in a file ─▶ APPLIED
                └──────────┴─▶ as before ───────────▶ REJECTED, with the reason

Whatever is wrong with a pushed config, the agent goes on with the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from agent.overlay import overlay
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.plan import Plan

FILE = "pushed-config"
DIGEST_BYTES = 32  # the file begins with the SHA-256 of the rest
DETAIL_MAX = 300  # characters of a reason

log = logging.getLogger(__name__)


class Configuration:
    """The plan in force; `restore` once, then `offer` whatever a gateway pushes.

    Args:
        local: What the agent's own settings say.
        path: Where a pushed config is kept; None keeps it in memory alone.

    Attributes:
        plan: What is in force.
        revision: Of the pushed config in force; 0 is the agent's own settings.
        apply: Brings a plan into force; set by whoever has the parts.
    """

    def __init__(self, local: Plan, *, path: Path | None = None) -> None:
        self._local = local
        self._path = path
        self._config = telemetry_pb2.AgentConfig()
        self.plan = local
        self.apply: Callable[[Plan], None] = lambda _: None

    @property
    def revision(self) -> int:
        """Of the pushed config in force; 0 is the agent's own settings."""
        return self._config.revision

    def intervals(self) -> Sequence[telemetry_pb2.FamilyInterval]:
        """Return the intervals in force, as the gateway is told."""
        return [
            telemetry_pb2.FamilyInterval(family=family, interval_s=interval_s)
            for family, interval_s in self.plan.intervals_s.items()
        ]

    def restore(self) -> None:
        """Take up what was pushed to a former process; a file that can't be used is left alone."""
        if self._path is None:
            return
        try:
            kept = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("config_not_restored", extra={"error": str(error)})
            return
        try:
            config = _unsealed(kept)
            self.plan = overlay(self._local, config)
        except Exception as error:
            log.warning("config_not_restored", extra={"error": str(error)[:DETAIL_MAX]})
            return
        self._config = config
        log.info("config_restored", extra={"revision": config.revision})

    def offer(self, config: telemetry_pb2.AgentConfig) -> telemetry_pb2.ConfigResult:
        """Bring a pushed config into force, or say why not; never raises."""
        if config == self._config:
            return self._result(config, telemetry_pb2.CONFIG_STATUS_APPLIED)
        try:
            plan = overlay(self._local, config)
            self.apply(plan)
        except Exception as error:
            with contextlib.suppress(Exception):
                self.apply(self.plan)
            detail = str(error)[:DETAIL_MAX] or type(error).__name__
            log.warning("config_rejected", extra={"revision": config.revision, "error": detail})
            return self._result(config, telemetry_pb2.CONFIG_STATUS_REJECTED, detail)
        self.plan = plan
        self._config = telemetry_pb2.AgentConfig()
        self._config.CopyFrom(config)
        detail = self._keep()
        log.info("config_applied", extra={"revision": config.revision})
        return self._result(config, telemetry_pb2.CONFIG_STATUS_APPLIED, detail)

    def _result(
        self,
        config: telemetry_pb2.AgentConfig,
        status: telemetry_pb2.ConfigStatus,
        detail: str = "",
    ) -> telemetry_pb2.ConfigResult:
        return telemetry_pb2.ConfigResult(
            revision=config.revision, status=status, detail=detail, intervals=self.intervals()
        )

    def _keep(self) -> str:
        """Write the config down for the next process; says what was wrong where it can't be.

        Then it holds all the same: the gateway pushes it again to the next process.
        """
        if self._path is None:
            return ""
        unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_sealed(self._config))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            log.warning("config_not_kept", extra={"error": str(error)})
            return f"not kept on disk: {error}"[:DETAIL_MAX]
        return ""


def _sealed(config: telemetry_pb2.AgentConfig) -> bytes:
    payload = config.SerializeToString()
    return hashlib.sha256(payload).digest() + payload


def _unsealed(kept: bytes) -> telemetry_pb2.AgentConfig:
    """Read what `_sealed` wrote.

    Raises:
        DecodeError: It is not as it was written.
    """
    digest, payload = kept[:DIGEST_BYTES], kept[DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        raise DecodeError("the file is damaged")
    return telemetry_pb2.AgentConfig.FromString(payload)
