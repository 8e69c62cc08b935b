"""One agent's stream, from Hello to the end.

Reading and answering are two tasks. What is read goes to the intake (intake.py); answers are
written as they come, most of them when a flush has committed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from collector_gateway import rows
from collector_gateway.intake import Intake
from collector_gateway.limits import weigh
from collector_gateway.words import to_word
from hostpulse.v1 import telemetry_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from collector_gateway.credits import Credits
    from collector_gateway.ingest import Ingest
    from collector_gateway.limits import Limits
    from collector_gateway.metrics import Metrics
    from hostpulse.clock import Clock
    from storage import claims

    Context = grpc.aio.ServicerContext[bytes, bytes]

ANSWERS_MAX = 1024  # unread answers; an agent that lets them pile up is not there any more
DRAIN_GRACE_S = 3.0


def end_call(context: Context, code: grpc.StatusCode, detail: str) -> None:
    """Say with which status a call ends; it does so when its handler returns.

    `abort` would raise an error that grpc keeps with the call, and whose traceback keeps the call.
    """
    context.set_code(code)
    context.set_details(detail)


class Session:
    """A stream that owns its server.

    Args:
        context: of the call; messages are bytes.
        hello: the first message.
        claimed: what the claim answered.
        token: the fencing token under which the server was claimed.
        ingest: where batches go.
        credits: leave to send backlog.
        limits: how fast to read.
        metrics: of this process.
        clock: ours, to compare with the agent's.
        on_config_result: takes an agent's verdict on a config.
    """

    def __init__(
        self,
        context: Context,
        *,
        hello: pb.Hello,
        claimed: claims.Claimed,
        token: UUID,
        ingest: Ingest,
        credits: Credits,
        limits: Limits,
        metrics: Metrics,
        clock: Clock,
        on_config_result: Callable[[Session, pb.ConfigResult], None],
    ) -> None:
        self.server_id = claimed.server_id
        self.server_name = hello.server_name
        self.token = token
        self.goodbye: str | None = None
        self.is_able = pb.CAPABILITY_CONFIG_PUSH in hello.capabilities
        # What the agent was told at Welcome; what it has by itself counts as 0 alone.
        unknown = -1 if hello.config_revision else 0
        self.config_revision = claimed.config.revision if claimed.config else unknown
        self._on_config_result = on_config_result
        self._context = context
        self._limits = limits
        self._metrics = metrics
        self._intake = Intake(
            hello,
            claimed,
            token=token,
            ingest=ingest,
            credits=credits,
            metrics=metrics,
            clock=clock,
            answer=self.answer,
            end=self.end,
        )
        self._answers: deque[bytes] = deque()
        self._answered = asyncio.Event()
        self._ended = asyncio.Event()
        self._end: tuple[grpc.StatusCode, str] | None = None

    def answer(self, response: pb.StreamResponse) -> None:
        """Queue a message to the agent."""
        if len(self._answers) >= ANSWERS_MAX:
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "answers are not read")
            return
        self._answers.append(response.SerializeToString())
        self._answered.set()

    def configure(self, config: pb.AgentConfig) -> None:
        """Tell the agent what it is to run."""
        self.config_revision = config.revision
        self.answer(pb.StreamResponse(config=config))

    def end(self, code: grpc.StatusCode, detail: str) -> None:
        """End the stream from this side."""
        if self._end is None:
            self._end = (code, detail)
        self._ended.set()

    def drain(self, reconnect_after_s: float) -> None:
        """Ask the agent to go elsewhere; what it sent is still stored and answered."""
        self.answer(
            pb.StreamResponse(
                drain=pb.Drain(reconnect_after_s=reconnect_after_s, detail="gateway stops")
            )
        )

    async def run(self) -> None:
        """Read and answer until the agent goes, or `end` is called."""
        # By itself: a first write that is cancelled half-way leaves gRPC in doubt whether it is
        # sent, and then the status can't be sent either (GRPC_CALL_ERROR_TOO_MANY_OPERATIONS).
        await self._context.send_initial_metadata(())
        self._intake.open()
        reader = asyncio.create_task(self._read(), name=f"read {self.server_name}")
        writer = asyncio.create_task(self._write(), name=f"write {self.server_name}")
        ender = asyncio.create_task(self._ended.wait(), name=f"end {self.server_name}")
        tasks = (reader, writer, ender)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reader in done:
                reader.result()
                await self._write_what_is_left(writer)
        finally:
            for task in tasks:
                task.cancel()
            self._intake.close()
            try:
                await asyncio.wait(tasks)
            finally:  # also when cancelled twice
                del self._intake  # it answers by this session: a cycle
        if self._end is not None:
            end_call(self._context, *self._end)

    async def _read(self) -> None:
        """Take messages until the agent has said its last."""
        while True:
            data = await self._context.read()
            if data is grpc.aio.EOF:
                return
            self._metrics.bytes_received.inc(len(data))
            try:
                request = pb.StreamRequest.FromString(data)
            except DecodeError:
                self.end(grpc.StatusCode.INVALID_ARGUMENT, "expected a StreamRequest")
                return
            samples = rows.count_samples(request.batch) if request.HasField("batch") else 0
            is_verdict = request.HasField("config_result")
            weight = weigh(len(data), samples, is_verdict=is_verdict)
            if (pause_s := self._limits.charge_message(self.server_name, weight)) > 0:
                await asyncio.sleep(pause_s)  # HTTP/2 holds the agent back meanwhile
            match request.WhichOneof("message"):
                case "batch":
                    await self._intake.take(request.batch, data, samples=samples, weight=weight)
                case "dropped_range":
                    await self._intake.take_dropped(request.dropped_range)
                case "heartbeat":
                    await self._intake.take_heartbeat()
                case "goodbye":
                    reason = request.goodbye.reason
                    self.goodbye = to_word(pb.GoodbyeReason, reason, "GOODBYE_REASON_")
                case "config_result":
                    self._on_config_result(self, request.config_result)
                case _:
                    pass  # a message of a newer agent

    async def _write(self) -> None:
        """Write answers as they come."""
        while True:
            while self._answers:
                await self._context.write(self._answers.popleft())
            self._answered.clear()
            if not self._answers:
                await self._answered.wait()

    async def _write_what_is_left(self, writer: asyncio.Task[None]) -> None:
        """Give batches that were read before the agent's end their verdicts, within a grace."""
        deadline = time.monotonic() + DRAIN_GRACE_S
        while (self._intake.in_flight or self._answers) and not writer.done():
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    if self._intake.in_flight:
                        await self._intake.one_settled()
                    else:
                        await asyncio.sleep(0.005)  # the writer is at it
            except TimeoutError:
                return
