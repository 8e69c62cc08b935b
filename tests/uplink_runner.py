"""An uplink with its buffer, and what a scripted gateway does most often."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from agent import batches, uplink
from agent.buffer import BufferBounds, MemoryBuffer
from agent.collectors import CollectorSettings
from agent.configuration import Configuration
from agent.counters import Counters
from agent.health import ClockOffset
from agent.identity import Identity
from agent.plan import Plan
from agent.session import Timeouts
from agent.settings import ApiKey
from hostpulse import backoff
from hostpulse.clock import SystemClock
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.buffer import Buffer
    from hostpulse.backoff import BackoffPolicy

PATIENCE_S = 10.0
QUICK = Timeouts(welcome_s=5.0, heartbeat_s=60.0, verdict_s=60.0, finish_s=0.3, close_s=0.1)


class WatchedBuffer(MemoryBuffer):
    """A buffer that says when it is empty."""

    def __init__(self, bounds: BufferBounds | None) -> None:
        super().__init__(bounds)
        self.empty = asyncio.Event()

    def put(self, batch):
        self.empty.clear()
        super().put(batch)

    def settle(self, epoch, seq):
        known = super().settle(epoch, seq)
        if not self.stats().batches:
            self.empty.set()
        return known


class Agent:
    """An uplink with its buffer, run by the test."""

    def __init__(
        self,
        *ports: int,
        timeouts: Timeouts = QUICK,
        bounds: BufferBounds | None = None,
        buffer: Buffer | None = None,
    ):
        self.clock = SystemClock()
        self.buffer = buffer or WatchedBuffer(bounds)
        self.counters = Counters()
        self.numbering = batches.Numbering(boot_id=bytes(16))
        self.policies: list[BackoffPolicy] = []
        self.pauses_s: list[float] = []
        self.tried_often = asyncio.Event()
        self.stop = asyncio.Event()
        self.configuration = Configuration(
            Plan(
                intervals_s={telemetry_pb2.FAMILY_CPU: 10.0},
                collectors=CollectorSettings(),
                spool=BufferBounds(),
            )
        )
        self.uplink = uplink.Uplink(
            uplink.UplinkSettings(
                gateways=[f"127.0.0.1:{port}" for port in ports],
                server_name="web-1",
                api_key=ApiKey("secret-key"),
                tls=None,
                timeouts=timeouts,
            ),
            identity=Identity(
                machine_id="m1", boot_id=bytes(16), host=telemetry_pb2.HostFacts(hostname="web-1")
            ),
            buffer=self.buffer,
            configuration=self.configuration,
            numbering=self.numbering,
            counters=self.counters,
            offset=ClockOffset(self.clock),
            clock=self.clock,
            delays=self._delays,
            pause=self._pause,
        )

    async def _pause(self, delay_s: float, wake: asyncio.Event) -> bool:
        self.pauses_s.append(delay_s)
        return await backoff.pause(delay_s, wake)

    def _delays(self, policy: BackoffPolicy) -> Iterator[float]:
        for _ in itertools.count():
            self.policies.append(policy)
            if len(self.policies) >= 3:
                self.tried_often.set()
            yield 0.01

    def collect(self, count: int = 1, *, padding: int = 0, age_s: float = 0.0) -> list[int]:
        """Put so many batches into the buffer; return their numbers."""
        seqs: list[int] = []
        for _ in range(count):
            tick = batches.Tick(
                time_unix_ns=self.clock.wall_ns(),
                monotonic_ns=self.clock.monotonic_ns() - round(age_s * 1e9),
                samples={
                    telemetry_pb2.FAMILY_PROCESS: [telemetry_pb2.ProcessSample(name="x" * padding)]
                },
            )
            for batch in batches.split(tick, self.uplink.limits):
                numbered = self.numbering.number(batch, tick)
                self.buffer.put(numbered)
                seqs.append(numbered.seq)
        self.uplink.notify()
        return seqs

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.uplink.run(self.stop))
        try:
            yield task
        finally:
            self.stop.set()
            async with asyncio.timeout(PATIENCE_S):
                await task

    async def settled(self) -> None:
        """Wait until the buffer is empty."""
        async with asyncio.timeout(PATIENCE_S):
            await self.buffer.empty.wait()


async def welcome_and_ack(conversation):
    await conversation.welcome()
    await conversation.ack_everything()


async def silence(conversation):
    while await conversation.read() is not None:
        pass
