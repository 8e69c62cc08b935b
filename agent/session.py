"""One stream to one gateway: Hello, Welcome, batches and acks, Goodbye.

open()  write Hello ─▶ read Welcome: forget what is committed, learn limits and clock
run()   ├─ reader  acks, config, drain
├─ writer  what `Outgoing` says, a heartbeat when that is nothing
└─ guard   ends a stream whose verdicts stay away, or whose end does
"""

from __future__ import annotations

import asyncio
import enum
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import grpc
import grpc.aio

from agent import channel
from hostpulse import errors
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.farewell import Farewell
    from agent.outgoing import Outgoing
    from hostpulse.backoff import Pause
    from hostpulse.clock import Clock

HEARTBEAT_MIN_S, HEARTBEAT_MAX_S = 1.0, 60.0  # what a gateway may ask for
DETAIL_MAX = 300  # characters of a gateway's sentence that are logged

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The bounds of a stream's waits, in seconds."""

    welcome_s: float = 10.0  # connecting included
    heartbeat_s: float = 15.0  # where the gateway does not say
    verdict_s: float = 120.0  # of one batch; a gateway without its database is left then
    finish_s: float = 3.0  # for outstanding verdicts when the stream is to end
    close_s: float = 0.5  # for the gateway to end its side


class Stream(Protocol):
    """What a session needs of grpc.aio's StreamStreamCall."""

    async def read(self) -> object:
        """Return the next StreamResponse, or grpc.aio.EOF."""
        ...

    async def write(self, request: bytes, /) -> None:
        """Send a serialized StreamRequest; waits while the peer does not read."""
        ...

    async def done_writing(self) -> None:
        """Say that nothing more will be written."""
        ...

    async def code(self) -> grpc.StatusCode:
        """Return the status of a stream that is over."""
        ...

    async def details(self) -> str | None:
        """Return the sentence that goes with the status."""
        ...

    async def trailing_metadata(self) -> channel.Trailing | None:
        """Return the metadata that goes with the status."""
        ...


class Ending(enum.Enum):
    """Why a stream ended on purpose."""

    STOPPED = "stopped"
    LEFT = "left"  # the gateway asked for it, or there is something new to announce


class Session:
    """A stream from Hello to its end; used once.

    Args:
        stream: The open call.
        outgoing: What is to be sent.
        offer: Takes a pushed config and returns the verdict on it.
        wake: Set by whoever has something new to send; also set and cleared here.
        clock: Measures how long verdicts stay away.
        pause: Waits.
        timeouts: Bounds of the waits.
        farewell: Says why, when the agent stops.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        outgoing: Outgoing,
        offer: Callable[[telemetry_pb2.AgentConfig], telemetry_pb2.ConfigResult],
        wake: asyncio.Event,
        clock: Clock,
        pause: Pause,
        timeouts: Timeouts,
        farewell: Farewell,
    ) -> None:
        self._stream = stream
        self._outgoing = outgoing
        self._offer = offer
        self._wake = wake
        self._clock = clock
        self._pause = pause
        self._timeouts = timeouts
        self._farewell = farewell
        self._heartbeat_s = timeouts.heartbeat_s
        self._closing = asyncio.Event()
        self._stopped = False
        self.drain: telemetry_pb2.Drain | None = None

    async def open(self, hello: telemetry_pb2.Hello) -> telemetry_pb2.Welcome:
        """Say Hello and return the Welcome.

        Raises:
            Retryable: There is none in time, or the stream failed.
        """
        try:
            async with asyncio.timeout(self._timeouts.welcome_s):
                await self._write(telemetry_pb2.StreamRequest(hello=hello).SerializeToString())
                response = await self._read()
        except TimeoutError as error:
            raise errors.Retryable(f"no Welcome within {self._timeouts.welcome_s:g} s") from error
        if response is None or not response.HasField("welcome"):
            raise errors.Retryable("the gateway's first message was not Welcome")
        welcome = response.welcome
        if welcome.limits.heartbeat_interval_s > 0:
            asked_s = welcome.limits.heartbeat_interval_s
            self._heartbeat_s = min(max(asked_s, HEARTBEAT_MIN_S), HEARTBEAT_MAX_S)
        return welcome

    async def run(self, stop: asyncio.Event) -> Ending:
        """Send and receive until the stop, a Drain or news, and wind up in bounded time.

        Raises:
            Retryable: The stream broke, or its verdicts stayed away.
        """
        reader = asyncio.create_task(self._receive(), name="stream-reader")
        writer = asyncio.create_task(self._send(), name="stream-writer")
        guard = asyncio.create_task(self._guard(), name="stream-guard")
        stopper = asyncio.create_task(self._await_stop(stop), name="stream-stop")
        tasks = (reader, writer, guard, stopper)
        try:
            await asyncio.wait(tasks[:3], return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and writer.exception() is None:
                await asyncio.wait({reader}, timeout=self._timeouts.close_s)
            else:
                for task in tasks[:3]:
                    if task.done():
                        await task
                raise errors.Retryable("the gateway ended the stream")
        except errors.Retryable:
            if not self._closing.is_set():
                raise
            # The end was wanted; that it was not a tidy one is no failure.
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Ending.STOPPED if self._stopped else Ending.LEFT

    async def _receive(self) -> None:
        """Handle what the gateway says until it ends the stream; unknown messages are ignored."""
        while (response := await self._read()) is not None:
            match response.WhichOneof("message"):
                case "ack":
                    self._outgoing.verdict(response.ack)
                case "config":
                    self._outgoing.answer_config(self._offer(response.config))
                case "backfill_credit":
                    self._outgoing.credit(response.backfill_credit.batches)
                case "drain":
                    self.drain = response.drain
                    detail = response.drain.detail[:DETAIL_MAX]
                    log.info("drain_asked", extra={"detail": detail})
                    self._closing.set()
                case _:
                    continue
            self._wake.set()

    async def _send(self) -> None:
        """Write until the end is asked for, then what time allows, then Goodbye."""
        finish_ns: int | None = None
        while True:
            self._wake.clear()
            if self._outgoing.is_outdated:
                self._closing.set()
            if finish_ns is None and self._closing.is_set():
                finish_ns = self._now_ns() + round(self._timeouts.finish_s * NS_PER_S)
            late = finish_ns is not None and self._now_ns() >= finish_ns
            request = None
            if not late:
                request = self._outgoing.next_request(with_batches=self.drain is None)
            if request is not None:
                await self._write(request)
            elif late or (finish_ns is not None and not self._outgoing.unacked):
                break
            elif finish_ns is not None:
                await self._pause((finish_ns - self._now_ns()) / NS_PER_S, self._wake)
            elif not await self._pause(self._heartbeat_s, self._wake):
                await self._write(self._outgoing.heartbeat())
        if self._stopped:
            goodbye = telemetry_pb2.Goodbye(reason=self._farewell.reason())
            await self._write(telemetry_pb2.StreamRequest(goodbye=goodbye).SerializeToString())
        await self._stream.done_writing()

    async def _await_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopped = True
        self._closing.set()
        self._wake.set()

    async def _guard(self) -> None:
        """Raise when a verdict stays away, or when the winding up does not end.

        A write waits for as long as the gateway does not read; this is what bounds it.
        """
        verdict_s = self._timeouts.verdict_s
        while not await self._pause(verdict_s / 8, self._closing):
            oldest_ns = self._outgoing.oldest_unacked_ns()
            if oldest_ns is not None and self._now_ns() - oldest_ns > verdict_s * NS_PER_S:
                raise errors.Retryable(f"no verdict on a batch within {verdict_s:g} s")
        await asyncio.sleep(self._timeouts.finish_s + self._timeouts.close_s)
        raise errors.Retryable("the stream did not end in time")

    async def _read(self) -> telemetry_pb2.StreamResponse | None:
        """Return the next message; None when the gateway has ended the stream well."""
        try:
            response = await self._stream.read()
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        if isinstance(response, telemetry_pb2.StreamResponse):
            return response
        return None

    async def _write(self, request: bytes) -> None:
        try:
            await self._stream.write(request)
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from error
        except asyncio.InvalidStateError as error:
            # grpc.aio: the stream was over before the write; only its status says why.
            code, trailing = await self._stream.code(), await self._stream.trailing_metadata()
            raise channel.failure(code, await self._stream.details(), trailing) from error

    def _now_ns(self) -> int:
        return self._clock.monotonic_ns()


def _failure(error: grpc.aio.AioRpcError) -> errors.Retryable:
    """Say what a call's status means."""
    return channel.failure(error.code(), error.details(), error.trailing_metadata())
