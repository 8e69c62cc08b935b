"""Ten thousand messages that no agent sends, beside an agent that sends good ones."""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hostpulse.v1 import telemetry_pb2 as pb
from tests.e2e.processes import say
from tests.fuzz.messages import messages, mutate

if TYPE_CHECKING:
    from tests.fuzz.conftest import Target

CASES = int(os.environ.get("FUZZ_CASES", "10000"))
MADE = 600  # by hypothesis; the others are mutations of them
AT_ONCE = 16
PART = CASES // 10
GROWTH_MAX = 1.05
STREAM = "/hostpulse.v1.TelemetryService/Stream"
ENROLL = "/hostpulse.v1.EnrollmentService/Enroll"
PATIENCE_S = 20.0
DEFECTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
# What grpc.aio's client says where a stream ended while it was writing: it has lost the status.
LOST_BY_CLIENT = "Internal error from Core"
OPTIONS = (("grpc.enable_retries", 0),)


def make_corpus() -> list[bytes]:
    """Let hypothesis make requests; those for the stream first, then those to enrol."""
    made: list[bytes] = []

    @settings(
        max_examples=MADE,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(pb.StreamRequest))
    def collect(message: pb.StreamRequest) -> None:
        made.append(message.SerializeToString())

    collect()
    return [each for each in made if each]


def hello(name: str, epoch: int) -> bytes:
    return pb.StreamRequest(
        hello=pb.Hello(
            server_name=name,
            machine_id=name,
            boot_id=uuid.uuid4().bytes,
            agent_version="1",
            epoch=epoch,
            time_unix_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
        )
    ).SerializeToString()


class Abuser:
    """Sends cases over streams of its own, and notes how each ended."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.chance = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.details: set[str] = set()
        self.epoch = 1

    async def run(self, channel: grpc.aio.Channel, cases: list[bytes]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(part: list[bytes]) -> None:
            async with limit:
                await self._stream(channel, part)

        parts: list[list[bytes]] = []
        while cases:
            count = self.chance.choice((1, 20, 50, 100))
            parts.append(cases[:count])
            cases = cases[count:]
        await asyncio.gather(*(one(part) for part in parts))

    async def _stream(self, channel: grpc.aio.Channel, cases: list[bytes]) -> None:
        if self.chance.random() < 0.05:
            await self._enroll(channel, cases)
            return
        call = channel.stream_stream(STREAM)(
            metadata=(("authorization", f"Bearer {self.target.key}"),)
        )
        self.epoch += 1
        first = hello(f"fuzz-{self.chance.randrange(2000)}", self.epoch)
        try:
            async with asyncio.timeout(PATIENCE_S):
                for data in ([] if self.chance.random() < 0.2 else [first]) + cases:
                    await call.write(data)
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    pass
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        except TimeoutError:
            call.cancel()
            self.ends["HANGS"] += 1
            return
        self._note(await call.code(), await call.details())

    async def _enroll(self, channel: grpc.aio.Channel, cases: list[bytes]) -> None:
        for data in cases:
            try:
                await channel.unary_unary(ENROLL)(data[:2000], timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                self._note(error.code(), error.details())

    def _note(self, code: grpc.StatusCode, detail: str | None) -> None:
        if detail == LOST_BY_CLIENT:
            self.ends["LOST"] += 1
            return
        if code in DEFECTS:
            say(f"{code.name}: {detail}")
        self.ends[code.name] += 1
        self.details.add(detail or "")


class GoodAgent:
    """Sends a tick now and then, and must be acked in good time."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lags_s: list[float] = []

    async def run(self, channel: grpc.aio.Channel, stop: asyncio.Event) -> None:
        call = channel.stream_stream(STREAM)(
            metadata=(("authorization", f"Bearer {self.target.key}"),)
        )
        await call.write(hello("good", 1))
        seq = 0
        while not stop.is_set():
            seq += 1
            begun = time.monotonic()
            batch = pb.MetricBatch(
                epoch=1,
                seq=seq,
                lane=pb.LANE_LIVE,
                time_unix_ns=time.time_ns(),
                monotonic_ns=time.monotonic_ns(),
                sent_monotonic_ns=time.monotonic_ns(),
                cpu=pb.CpuSample(usage_percent=1),
            )
            await call.write(pb.StreamRequest(batch=batch).SerializeToString())
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    answer = pb.StreamResponse.FromString(await call.read())
                    if answer.HasField("ack"):
                        assert answer.ack.status == pb.BATCH_STATUS_COMMITTED
                        break
            self.lags_s.append(time.monotonic() - begun)
            await asyncio.sleep(0.02)
        call.cancel()


@pytest.mark.timeout(400)
def test_nothing_that_is_sent_breaks_the_gateway_or_keeps_good_samples_out(target: Target) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed: FUZZ_SEED={seed}")
    corpus = make_corpus()
    abuser, good = Abuser(target, seed), GoodAgent(target)
    chance = random.Random(seed)
    cases = [*corpus, *(mutate(chance.choice(corpus), chance) for _ in range(CASES - len(corpus)))]
    chance.shuffle(cases)
    rss: list[int] = []

    async def throw() -> None:
        stop = asyncio.Event()
        address = target.gateway.address
        async with (
            grpc.aio.insecure_channel(address, options=OPTIONS) as channel,
            grpc.aio.insecure_channel(address, options=(*OPTIONS, ("x", 1))) as other,
        ):
            sending = asyncio.create_task(good.run(other, stop))
            for first in range(0, CASES, PART):
                await abuser.run(channel, cases[first : first + PART])
                rss.append(target.rss_bytes)
            stop.set()
            await sending

    asyncio.run(throw())

    say(f"ends: {dict(abuser.ends)}")
    say(f"good agent: {len(good.lags_s)} ticks, slowest {max(good.lags_s):.2f} s")
    say(f"gateway: {[round(each / 1e6, 1) for each in rss]} MB")
    assert not {code.name for code in DEFECTS} & abuser.ends.keys()
    assert "HANGS" not in abuser.ends
    assert not [each for each in abuser.details if "Traceback" in each or 'File "' in each]
    assert "Traceback" not in target.log
    assert len(good.lags_s) > 5
    assert rss[-1] <= rss[0] * GROWTH_MAX
