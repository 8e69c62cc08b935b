"""Keeps a stream to some gateway open, for as long as the agent lives.

gateways in turn ─▶ channel ─▶ Session ─▶ ended: backoff with full jitter, next gateway
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, cast

import hostpulse
from agent import batches, channel
from agent.farewell import Farewell
from agent.outgoing import Outgoing
from agent.session import Ending, Session, Timeouts
from hostpulse import backoff, errors
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from agent.buffer import Buffer
    from agent.configuration import Configuration
    from agent.counters import Counters
    from agent.health import ClockOffset
    from agent.identity import Identity
    from agent.session import Stream
    from agent.settings import ApiKey, TlsMaterial
    from hostpulse.clock import Clock

RECONNECT = backoff.BackoffPolicy(initial_s=0.5, maximum_s=30.0)
REFUSED = backoff.BackoffPolicy(minimum_s=30.0, initial_s=60.0, maximum_s=60.0)
SETTLED_S = 10.0  # a stream that lived so long was a success: backoff starts anew

Delays: TypeAlias = Callable[[backoff.BackoffPolicy], Iterator[float]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkSettings:
    """Whom to talk to, as whom."""

    gateways: Sequence[str]
    server_name: str
    api_key: ApiKey
    tls: TlsMaterial | None
    timeouts: Timeouts = field(default_factory=Timeouts)


class EpochConflictError(errors.Retryable):
    """The gateway knows batches of this epoch that were never sent: somebody cloned this agent."""


class Uplink:
    """Carries what the buffer holds to a gateway; `run` once, `notify` at every new batch.

    Attributes:
        failing: Whether the last attempt to have a stream failed.
    """

    def __init__(
        self,
        settings: UplinkSettings,
        *,
        identity: Identity,
        buffer: Buffer,
        configuration: Configuration,
        numbering: batches.Numbering,
        counters: Counters,
        offset: ClockOffset,
        clock: Clock,
        pause: backoff.Pause = backoff.pause,
        delays: Delays = backoff.delays,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._buffer = buffer
        self._configuration = configuration
        self._numbering = numbering
        self._counters = counters
        self._offset = offset
        self._clock = clock
        self._farewell = Farewell(clock)
        self._pause = pause
        self._delays = delays
        self._wake = asyncio.Event()
        self._reported_reasons: set[str] = set()
        self._last_failures: dict[str, str] = {}
        self._turn = 0
        self._announced = batches.BatchLimits()
        self.failing = False

    @property
    def limits(self) -> batches.BatchLimits:
        """What new batches may hold, by the last Welcome and the config."""
        return self._announced.within(self._configuration.plan.batch)

    def notify(self) -> None:
        """Say that the buffer has something new."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a stream open until the stop; failures are logged when their text changes."""
        reconnect, refused = self._delays(RECONNECT), self._delays(REFUSED)
        while not stop.is_set():
            gateway = self._settings.gateways[self._turn % len(self._settings.gateways)]
            begun_s = asyncio.get_running_loop().time()
            after_s: float | None = None
            slowly = False
            try:
                drain = await self._converse(gateway, stop)
                after_s = None if drain is None else self._patience_s(drain.reconnect_after_s)
            except EpochConflictError as error:
                self._start_epoch(str(error))
            except errors.Retryable as error:
                self._fail(gateway, str(error))
                slowly = isinstance(error, channel.RefusedError)
                after_s = self._patience_s(error.after_s)
            self._turn += 1
            if asyncio.get_running_loop().time() - begun_s > SETTLED_S:
                reconnect = self._delays(RECONNECT)
            delay_s = next(refused if slowly else reconnect)
            await self._pause(backoff.honoured(delay_s, after_s), stop)

    async def _converse(self, gateway: str, stop: asyncio.Event) -> telemetry_pb2.Drain | None:
        """Hold one stream to its end; return the Drain that ended it, None after the stop."""
        tls = self._settings.tls and self._settings.tls.reread()  # renewed without a restart
        connection = channel.open_channel(gateway, tls)
        outgoing: Outgoing | None = None
        try:
            # types-grpcio knows the call's status methods under a narrower name.
            stream = cast("Stream", channel.open_stream(connection, self._settings.api_key))
            asked_ns = self._clock.monotonic_ns()
            hello = self._hello()
            session, outgoing = self._session(stream, [each.epoch for each in hello.epochs])
            opening = asyncio.create_task(session.open(hello), name="stream-open")
            if not await _finished_before(opening, stop):
                return None
            self._welcomed(gateway, opening.result(), outgoing, asked_ns)
            ending = await session.run(stop)
            return session.drain if ending is Ending.LEFT else None
        finally:
            if outgoing is not None:
                self._counters.failed_sends += outgoing.unacked
            await connection.close()

    def _session(self, stream: Stream, epochs: Sequence[int]) -> tuple[Session, Outgoing]:
        outgoing = Outgoing(
            buffer=self._buffer,
            counters=self._counters,
            clock=self._clock,
            reported_reasons=self._reported_reasons,
            epochs=epochs,
        )
        session = Session(
            stream=stream,
            outgoing=outgoing,
            offer=self._configuration.offer,
            wake=self._wake,
            clock=self._clock,
            pause=self._pause,
            timeouts=self._settings.timeouts,
            farewell=self._farewell,
        )
        return session, outgoing

    def _hello(self) -> telemetry_pb2.Hello:
        return telemetry_pb2.Hello(
            server_name=self._settings.server_name,
            machine_id=self._identity.machine_id,
            boot_id=self._identity.boot_id,
            agent_version=hostpulse.__version__,
            host=self._identity.host,
            capabilities=[
                telemetry_pb2.CAPABILITY_BACKFILL,
                telemetry_pb2.CAPABILITY_CONFIG_PUSH,
            ],
            config_revision=self._configuration.revision,
            epochs=self._epochs(),
            epoch=self._numbering.epoch,
            time_unix_ns=self._clock.wall_ns(),
            monotonic_ns=self._clock.monotonic_ns(),
            intervals=self._configuration.intervals(),
        )

    def _epochs(self) -> Sequence[telemetry_pb2.EpochState]:
        """Return the epochs of former processes in the spool, then those of this one."""
        own = {each.epoch: each for each in self._numbering.states()}
        former = [each for each in self._buffer.epochs() if each.epoch not in own]
        return [*former, *own.values()]

    def _welcomed(
        self,
        gateway: str,
        welcome: telemetry_pb2.Welcome,
        outgoing: Outgoing,
        asked_ns: int,
    ) -> None:
        """Take over what the gateway knows.

        Raises:
            EpochConflictError: It knows a number of our epoch that was never sent.
        """
        if welcome.time_unix_ns:
            self._offset.learn(gateway_unix_ns=welcome.time_unix_ns, sent_monotonic_ns=asked_ns)
        self._announced = batches.BatchLimits().lowered(welcome.limits)
        for committed in welcome.committed:
            ranges = [(each.first_seq, each.last_seq) for each in committed.ranges]
            self._buffer.forget(committed.epoch, ranges)
            known = max((last for _, last in ranges), default=0)
            if committed.epoch == self._numbering.epoch and known > self._numbering.last_seq:
                raise EpochConflictError(
                    f"seq {known} is committed, {self._numbering.last_seq} sent"
                )
        if telemetry_pb2.CAPABILITY_BACKFILL in welcome.capabilities:
            outgoing.use_credits()
        if welcome.HasField("config"):
            outgoing.answer_config(self._configuration.offer(welcome.config))
        self.failing = False
        self._last_failures.clear()
        log.info("stream_opened", extra={"gateway": gateway})

    def _start_epoch(self, reason: str) -> None:
        former = self._numbering.epoch
        self._numbering.restart()
        log.warning(
            "epoch_restarted",
            extra={"reason": reason, "former": former, "epoch": self._numbering.epoch},
        )

    def _patience_s(self, asked_s: float | None) -> float | None:
        """Return how long to stay away: not at all where there is another gateway to go to."""
        return asked_s if len(self._settings.gateways) == 1 else None

    def _fail(self, gateway: str, text: str) -> None:
        """Note a failure; the same one again is not news."""
        self.failing = True
        if self._last_failures.get(gateway) != text:
            self._last_failures[gateway] = text
            log.warning("stream_failed", extra={"gateway": gateway, "error": text})


async def _finished_before(opening: asyncio.Task[object], stop: asyncio.Event) -> bool:
    """Wait for a task or the stop, whichever is first; the stop cancels the task."""
    stopped = asyncio.create_task(stop.wait(), name="stream-open-stop")
    try:
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return opening.done()
    finally:
        stopped.cancel()
        opening.cancel()
