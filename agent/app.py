"""The composition root of the agent: builds the parts, wires them, runs them until the stop.

collectors ─▶ Runner ─ Tick ▶ split, number ─▶ SpoolBuffer ─▶ Uplink ═▶ gateway
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from agent import batches, collectors, identity
from agent.configuration import FILE, Configuration
from agent.counters import Counters
from agent.health import ClockOffset, Health
from agent.journal import Journal
from agent.runner import Runner
from agent.session import Timeouts
from agent.spool_buffer import SpoolBuffer
from agent.uplink import Uplink, UplinkSettings
from hostpulse import backoff, lifecycle
from hostpulse.clock import SystemClock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from pathlib import Path

    from agent.buffer import Buffer
    from agent.plan import Plan
    from agent.settings import AgentSettings

STOP_GRACE_S = 4.0  # more than a stream takes to say Goodbye, less than the 5 s that are promised

log = logging.getLogger(__name__)


class Intake:
    """Takes ticks: splits and numbers them, keeps them, and wakes the uplink."""

    def __init__(
        self,
        *,
        numbering: batches.Numbering,
        buffer: Buffer,
        uplink: Uplink,
        counters: Counters,
        journal: Journal | None,
    ) -> None:
        self._numbering = numbering
        self._buffer = buffer
        self._uplink = uplink
        self._counters = counters
        self._journal = journal

    def take(self, tick: batches.Tick) -> None:
        """Keep a tick until its batches have their verdict."""
        for batch in batches.split(tick, self._uplink.limits):
            numbered = self._numbering.number(batch, tick)
            self._buffer.put(numbered)
            if self._journal is not None:
                self._journal.append(numbered)
            self._counters.failed_sends += self._uplink.failing
        self._uplink.notify()


async def run(
    settings: AgentSettings,
    stop: asyncio.Event,
    *,
    observed: Sequence[collectors.Collector] | None = None,
    timeouts: Timeouts | None = None,
    journal: Path | None = None,
) -> None:
    """Run the agent until the stop; what then has no verdict waits in the spool.

    Args:
        settings: What to do.
        stop: Ends it within STOP_GRACE_S.
        observed: Collectors to run in place of those that the settings ask for.
        timeouts: Bounds of a stream's waits.
        journal: See `agent.journal`.

    Raises:
        ConfigError: This host can't be identified.
    """
    clock = SystemClock()
    host = identity.read(settings.data_dir)
    configuration = Configuration(settings.plan, path=settings.data_dir / FILE)
    configuration.restore()
    plan = configuration.plan
    numbering = batches.Numbering(boot_id=host.boot_id)
    buffer = SpoolBuffer(
        settings.data_dir, boot_id=host.boot_id, bounds=plan.spool, memory=settings.buffer
    )
    counters, offset = Counters(), ClockOffset(clock)
    uplink = Uplink(
        UplinkSettings(
            gateways=settings.gateways,
            server_name=settings.server_name,
            api_key=settings.api_key,
            tls=settings.tls,
            timeouts=timeouts or Timeouts(),
        ),
        identity=host,
        buffer=buffer,
        configuration=configuration,
        numbering=numbering,
        counters=counters,
        offset=offset,
        clock=clock,
    )
    with contextlib.ExitStack() as opened:
        side_file = None
        if journal is not None:
            side_file = opened.enter_context(contextlib.closing(Journal(journal)))
        intake = Intake(
            numbering=numbering,
            buffer=buffer,
            uplink=uplink,
            counters=counters,
            journal=side_file,
        )
        runner = Runner(
            collectors=collectors.build(plan.collectors) if observed is None else observed,
            intervals_s=plan.intervals_s,
            health=Health(clock=clock, buffer=buffer, counters=counters, offset=offset),
            emit=intake.take,
            clock=clock,
            pause=backoff.pause,
        )

        def apply(plan: Plan) -> None:
            fresh = collectors.build(plan.collectors) if observed is None else observed
            collectors.adjust(runner.collectors, plan.collectors)
            runner.change(plan.intervals_s, fresh)
            buffer.rebound(plan.spool)

        configuration.apply = apply
        log.info(
            "agent_started",
            extra={"server": settings.server_name, "epoch": numbering.epoch},
        )
        try:
            await lifecycle.run_until_stopped(
                {
                    "runner": runner.run(stop),
                    "uplink": uplink.run(stop),
                    "spool": buffer.keep(stop, backoff.pause),
                },
                stop,
                grace_s=STOP_GRACE_S,
            )
        finally:
            buffer.close()
            _say_what_is_left(buffer)


def _say_what_is_left(buffer: Buffer) -> None:
    left = buffer.stats()
    if left.unspooled:
        log.error("unsent_batches_lost", extra={"batches": left.unspooled})
    if left.batches > left.unspooled:
        log.info("unsent_batches_spooled", extra={"batches": left.batches - left.unspooled})
    log.info("agent_stopped")
