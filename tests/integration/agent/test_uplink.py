from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from typing import TYPE_CHECKING

import grpc
import pytest

from agent import batches, spool_buffer, uplink
from agent.buffer import BufferBounds, MemoryBuffer
from agent.collectors import CollectorSettings
from agent.configuration import Configuration
from agent.counters import Counters
from agent.health import ClockOffset
from agent.identity import Identity
from agent.plan import Plan
from agent.session import Timeouts
from agent.settings import ApiKey
from agent.spool_buffer import SpoolBuffer
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


async def test_acked_batches_leave_the_buffer(serve):
    async with serve(welcome_and_ack) as (_gateway, port):
        agent = Agent(port)
        agent.collect(3)

        async with agent.running():
            agent.collect(2)
            await agent.settled()

        assert agent.counters.sent_batches == 5
        assert agent.counters.failed_sends == 0


async def test_hello_says_who_the_agent_is_and_how_far_its_epoch_got(serve):
    async with serve(welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect(3)

        async with agent.running():
            await agent.settled()

        hello = gateway.conversations[0].received[0].hello
        assert (hello.server_name, hello.machine_id) == ("web-1", "m1")
        assert [(each.epoch, each.last_seq) for each in hello.epochs] == [(hello.epoch, 3)]
        assert [each.interval_s for each in hello.intervals] == [10.0]
        assert hello.capabilities == [
            telemetry_pb2.CAPABILITY_BACKFILL,
            telemetry_pb2.CAPABILITY_CONFIG_PUSH,
        ]
        assert gateway.conversations[0].metadata["authorization"] == "Bearer secret-key"


async def test_unacked_batches_are_resent_unchanged_when_the_stream_breaks_before_the_ack(serve):
    async def take_and_break(conversation):
        await conversation.welcome()
        await conversation.read_batch()
        await conversation.read_batch()
        await conversation.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    async with serve(take_and_break, welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect(2)

        async with agent.running():
            await agent.settled()

        first, second = (
            [each.batch for each in stream.received if each.HasField("batch")]
            for stream in gateway.conversations
        )
        assert [
            each.sent_monotonic_ns < other.sent_monotonic_ns
            for each, other in zip(first, second, strict=True)
        ] == [True, True]
        for batch in (*first, *second):
            batch.ClearField("sent_monotonic_ns")
        assert first == second
        assert agent.counters.failed_sends == 2


async def test_an_agent_that_starts_before_its_gateway_delivers_when_it_comes(serve, caplog):
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
    agent = Agent(port)
    agent.collect()

    with caplog.at_level(logging.WARNING):
        async with agent.running():
            async with asyncio.timeout(PATIENCE_S):
                await agent.tried_often.wait()
            assert agent.uplink.failing
            async with serve(welcome_and_ack, port=port):
                await agent.settled()
                assert not agent.uplink.failing

    failures = [each for each in caplog.records if each.getMessage() == "stream_failed"]
    assert len(failures) == len({each.error for each in failures}), "the same failure is no news"


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED]
)
async def test_a_refused_agent_retries_slowly_and_says_so(serve, caplog, code):
    async def refuse(conversation):
        await conversation.read()
        await conversation.abort(code, "key is revoked")

    async with serve(refuse, welcome_and_ack) as (_gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert agent.policies[0] is uplink.REFUSED
    assert uplink.REFUSED.minimum_s >= 30
    assert f"{code.name}: key is revoked" in [getattr(each, "error", "") for each in caplog.records]


async def test_a_rejected_batch_is_not_resent(serve, caplog):
    async def reject_and_break(conversation):
        await conversation.welcome()
        for _ in range(2):
            await conversation.ack(
                await conversation.read_batch(),
                telemetry_pb2.BATCH_STATUS_REJECTED,
                reason=telemetry_pb2.REJECT_REASON_OVER_LIMIT,
                detail="too many samples",
            )
        await conversation.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    async with serve(reject_and_break, welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect(2)

        async with agent.running():
            await gateway.streams(2)
            later = agent.collect()
            await agent.settled()

        batches_of_second = [
            each.batch.seq for each in gateway.conversations[1].received if each.HasField("batch")
        ]
        assert batches_of_second == later
    logged = [each for each in caplog.records if each.getMessage() == "batch_rejected"]
    assert [each.reason for each in logged] == ["REJECT_REASON_OVER_LIMIT"]


async def test_acks_of_unknown_batches_and_unknown_statuses_are_ignored(serve):
    async def confuse(conversation):
        await conversation.welcome()
        batch = await conversation.read_batch()
        await conversation.ack(batch, 99)
        await conversation.ack(telemetry_pb2.MetricBatch(epoch=1, seq=77))
        await conversation.ack(batch)
        await conversation.ack(batch)
        await conversation.ack_everything()

    async with serve(confuse) as (_gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

        assert agent.counters.sent_batches == 1


async def test_a_spool_that_opens_late_is_announced_and_delivered_at_once(
    serve, tmp_path, monkeypatch
):
    monkeypatch.setattr(spool_buffer, "RETRY_S", 0.0)
    before = SpoolBuffer(tmp_path, boot_id=bytes(16))  # of a process that has not quite ended
    former = batches.Numbering(boot_id=bytes(16))
    tick = batches.Tick(
        time_unix_ns=1,
        monotonic_ns=1,
        samples={telemetry_pb2.FAMILY_TCP: [telemetry_pb2.TcpSample()]},
    )
    for batch in batches.split(tick, batches.BatchLimits()):
        before.put(former.number(batch, tick))

    async with serve(welcome_and_ack, welcome_and_ack) as (gateway, port):
        agent = Agent(port, buffer=SpoolBuffer(tmp_path, boot_id=bytes(16)))
        agent.collect()
        async with agent.running():
            async with asyncio.timeout(PATIENCE_S):
                while not agent.counters.sent_batches:
                    await asyncio.sleep(0.01)
            before.close()
            agent.collect()
            async with asyncio.timeout(PATIENCE_S):
                while agent.buffer.stats().batches:
                    await asyncio.sleep(0.01)
        agent.buffer.close()

        sent = [
            (each.batch.epoch, each.batch.seq)
            for conversation in gateway.conversations
            for each in conversation.received
            if each.HasField("batch")
        ]
        last = gateway.conversations[-1].received[0].hello
        assert (former.epoch, 1) in sent
        assert former.epoch in [each.epoch for each in last.epochs]
        assert len(sent) == len(set(sent)) == 3


async def test_what_welcome_says_is_committed_is_forgotten(serve):
    async def welcome_with_ranges(conversation):
        request = await conversation.read()
        await conversation.say(
            welcome=telemetry_pb2.Welcome(
                committed=[
                    telemetry_pb2.CommittedRanges(
                        epoch=request.hello.epoch,
                        ranges=[
                            telemetry_pb2.SeqRange(first_seq=1, last_seq=2),
                            telemetry_pb2.SeqRange(first_seq=4, last_seq=4),
                        ],
                    )
                ]
            )
        )
        await conversation.ack_everything()

    async with serve(welcome_with_ranges) as (gateway, port):
        agent = Agent(port)
        agent.collect(5)

        async with agent.running():
            await agent.settled()

        received = gateway.conversations[0].received
        assert [each.batch.seq for each in received if each.HasField("batch")] == [3, 5]


async def test_a_gateway_that_knows_more_than_was_sent_makes_the_agent_start_a_new_epoch(
    serve, caplog
):
    async def know_too_much(conversation):
        request = await conversation.read()
        await conversation.say(
            welcome=telemetry_pb2.Welcome(
                committed=[
                    telemetry_pb2.CommittedRanges(
                        epoch=request.hello.epoch,
                        ranges=[telemetry_pb2.SeqRange(first_seq=5, last_seq=9)],
                    )
                ]
            )
        )
        await silence(conversation)

    async with serve(know_too_much, welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect(2)
        former = agent.numbering.epoch

        async with agent.running():
            await agent.settled()

        hello = gateway.conversations[1].received[0].hello
        assert hello.epoch == agent.numbering.epoch != former
        assert {each.epoch: each.last_seq for each in hello.epochs} == {former: 2, hello.epoch: 0}
    assert "epoch_restarted" in caplog.messages


async def test_a_new_batch_is_sent_before_the_backlog_that_waits_for_acks(serve):
    backlog_written, collected = asyncio.Event(), asyncio.Event()

    async def withhold_acks(conversation):
        await conversation.welcome()
        held = [await conversation.read_batch() for _ in range(24)]
        backlog_written.set()
        await collected.wait()
        held.append(await conversation.read_batch())
        for batch in held:
            await conversation.ack(batch)
        await conversation.ack_everything()

    async with serve(withhold_acks) as (gateway, port):
        agent = Agent(port)
        agent.collect(40, age_s=600)

        async with agent.running():
            await backlog_written.wait()
            fresh = agent.collect()
            collected.set()
            await agent.settled()

        received = [each.batch.seq for each in gateway.conversations[0].received if each.batch.seq]
        assert received[:25] == [*range(1, 25), *fresh]
        assert sorted(received) == list(range(1, 42))


async def test_the_backlog_goes_in_its_own_lane_as_far_as_credits_allow(serve):
    async def give_credit(conversation):
        await conversation.welcome(capabilities=[telemetry_pb2.CAPABILITY_BACKFILL])
        fresh = await conversation.read_batch()
        await conversation.say(backfill_credit=telemetry_pb2.BackfillCredit(batches=2))
        backlog = [await conversation.read_batch() for _ in range(2)]
        for batch in (*backlog, fresh):
            await conversation.ack(batch)
        await conversation.say(backfill_credit=telemetry_pb2.BackfillCredit(batches=9))
        await conversation.ack_everything()

    async with serve(give_credit) as (gateway, port):
        agent = Agent(port)
        agent.collect(4, age_s=600)
        agent.collect(1)

        async with agent.running():
            await agent.settled()

        sent = [each.batch for each in gateway.conversations[0].received if each.HasField("batch")]
        live, backfill = telemetry_pb2.LANE_LIVE, telemetry_pb2.LANE_BACKFILL
        assert [(each.seq, each.lane) for each in sent] == [
            (5, live),
            *((seq, backfill) for seq in (1, 2, 3, 4)),
        ]


async def test_drain_is_honoured_after_outstanding_acks_and_before_new_batches(serve):
    drained = asyncio.Event()

    async def drain(conversation):
        await conversation.welcome()
        batch = await conversation.read_batch()
        await conversation.say(drain=telemetry_pb2.Drain(reconnect_after_s=0.01))
        drained.set()
        await conversation.ack(batch)
        assert await conversation.read() is None

    async with serve(drain, welcome_and_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await drained.wait()
            await gateway.ended(1)
            agent.collect()
            await agent.settled()

        assert [each.batch.seq for each in gateway.conversations[0].received if each.batch.seq] == [
            1
        ]
        assert agent.counters.failed_sends == 0


@pytest.mark.parametrize(
    ("pushback", "asked_s"),
    [("1500", 1.51), ("0", 0.01), ("-1", 0.01), ("soon", 0.01), ("9" * 5000, 0.01)],
)
async def test_a_gateway_that_refuses_a_stream_says_when_to_come_again(serve, pushback, asked_s):
    async def refuse(conversation):
        await conversation.read()
        await conversation.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", grpc_retry_pushback_ms=pushback
        )

    async with serve(refuse, welcome_and_ack) as (_, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert agent.pauses_s[0] == pytest.approx(asked_s)


async def test_where_there_is_another_gateway_nobody_waits_for_the_one_that_refused(serve):
    async def refuse(conversation):
        await conversation.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many", grpc_retry_pushback_ms="300000"
        )

    async with serve(refuse) as (_, busy_port), serve(welcome_and_ack) as (_, port):
        agent = Agent(busy_port, port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert max(agent.pauses_s) < 300


async def test_a_stream_that_breaks_after_its_drain_is_no_failure(serve, caplog):
    async def drain_and_break(conversation):
        await conversation.welcome()
        await conversation.read_batch()
        await conversation.say(drain=telemetry_pb2.Drain())
        await conversation.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    async with serve(drain_and_break, welcome_and_ack) as (_, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

    assert "stream_failed" not in caplog.messages
    assert agent.counters.failed_sends == 1


async def test_a_gateway_that_never_says_welcome_is_left_for_the_next_one(serve):
    async with serve(silence) as (mute, mute_port), serve(welcome_and_ack) as (_, port):
        agent = Agent(mute_port, port, timeouts=Timeouts(welcome_s=0.2))
        agent.collect()

        async with agent.running():
            await agent.settled()

        assert len(mute.conversations) == 1


async def test_verdicts_that_stay_away_end_the_stream(serve):
    async def take_without_verdict(conversation):
        await conversation.welcome()
        await silence(conversation)

    async with serve(take_without_verdict, welcome_and_ack) as (gateway, port):
        agent = Agent(port, timeouts=Timeouts(verdict_s=0.2))
        agent.collect()

        async with agent.running():
            await agent.settled()

        assert len(gateway.conversations) == 2


async def test_an_agent_with_nothing_to_send_says_that_it_lives(serve):
    heard = asyncio.Event()

    async def listen(conversation):
        await conversation.welcome()
        while request := await conversation.read():
            if request.HasField("heartbeat") and request.heartbeat.time_unix_ns:
                heard.set()

    async with serve(listen) as (_, port):
        agent = Agent(port, timeouts=Timeouts(heartbeat_s=0.05))

        async with agent.running(), asyncio.timeout(PATIENCE_S):
            await heard.wait()


async def test_every_pushed_config_is_answered_and_the_next_hello_tells_what_is_in_force(serve):
    answers = []
    hellos = []
    answered = asyncio.Event()
    five = telemetry_pb2.FamilyInterval(family=telemetry_pb2.FAMILY_CPU, interval_s=5.0)
    four = telemetry_pb2.FamilyInterval(family=telemetry_pb2.FAMILY_CPU, interval_s=4.0)

    async def push(conversation):
        hellos.append(
            await conversation.welcome(
                config=telemetry_pb2.AgentConfig(revision=6, max_samples_per_batch=20)
            )
        )
        await conversation.say(config=telemetry_pb2.AgentConfig(revision=7, intervals=[five]))
        await conversation.say(config=telemetry_pb2.AgentConfig(revision=8, intervals=[four]))
        while len(answers) < 3 and (request := await conversation.read()):
            if request.HasField("config_result"):
                answers.append(request.config_result)

    async def listen(conversation):
        hellos.append(await conversation.welcome())
        answered.set()
        await conversation.ack_everything()

    async with serve(push, listen) as (_, port):
        agent = Agent(port)

        async with agent.running(), asyncio.timeout(PATIENCE_S):
            await answered.wait()

    assert [(each.revision, each.status) for each in answers] == [
        (6, telemetry_pb2.CONFIG_STATUS_APPLIED),
        (7, telemetry_pb2.CONFIG_STATUS_APPLIED),
        (8, telemetry_pb2.CONFIG_STATUS_REJECTED),
    ]
    assert [list(each.intervals) for each in answers[1:]] == [[five], [five]]
    assert "cpu_interval_s must be between 5 and 60 seconds, got 4.0" in answers[2].detail
    assert telemetry_pb2.CAPABILITY_CONFIG_PUSH in hellos[0].capabilities
    assert [(each.config_revision, list(each.intervals)) for each in hellos[1:]] == [(7, [five])]


async def test_a_dropped_range_is_reported_until_a_later_batch_is_acked(serve):
    async def hear_and_break(conversation):
        await conversation.welcome()
        await conversation.read()
        await conversation.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    async with serve(hear_and_break, welcome_and_ack) as (gateway, port):
        agent = Agent(port, bounds=BufferBounds(max_bytes=2_000))
        agent.collect(10)
        kept = agent.buffer.stats().batches
        assert 0 < kept < 10

        async with agent.running():
            await agent.settled()

        reports = [
            (each.dropped_range.seqs.first_seq, each.dropped_range.seqs.last_seq)
            for stream in gateway.conversations
            for each in stream.received
            if each.HasField("dropped_range")
        ]
        assert reports == [(1, 10 - kept)] * 2
        assert agent.buffer.dropped == ()


async def test_stopping_waits_for_outstanding_acks_and_says_goodbye(serve):
    sent, stopping = asyncio.Event(), asyncio.Event()

    async def ack_late(conversation):
        await conversation.welcome()
        batch = await conversation.read_batch()
        sent.set()
        await stopping.wait()
        await conversation.ack(batch)
        await conversation.ack_everything()

    async with serve(ack_late) as (gateway, port):
        agent = Agent(port, timeouts=Timeouts())
        agent.collect()

        async with agent.running():
            await sent.wait()
            agent.stop.set()
            stopping.set()
        await gateway.ended(1)

        assert agent.buffer.stats().batches == 0
        last = gateway.conversations[0].received[-1]
        assert last.goodbye.reason == telemetry_pb2.GOODBYE_REASON_SHUTDOWN


async def test_stopping_is_bounded_when_acks_never_come(serve):
    sent = asyncio.Event()

    async def never_ack(conversation):
        await conversation.welcome()
        await conversation.read_batch()
        sent.set()
        await silence(conversation)

    async with serve(never_ack) as (gateway, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running() as task:
            await sent.wait()
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task
        await gateway.ended(1)

        assert gateway.conversations[0].received[-1].HasField("goodbye")
        assert agent.buffer.stats().batches == 1


async def test_stopping_is_bounded_when_the_gateway_does_not_read(serve):
    welcomed, over = asyncio.Event(), asyncio.Event()

    async def stop_reading(conversation):
        await conversation.welcome()
        welcomed.set()
        await over.wait()

    async with serve(stop_reading) as (_, port):
        agent = Agent(port)
        agent.collect(8, padding=190_000)

        async with agent.running() as task:
            await welcomed.wait()
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task
        over.set()

        assert agent.buffer.stats().batches == 8


async def test_stopping_is_immediate_while_there_is_no_welcome(serve):
    async with serve(silence) as (gateway, port):
        agent = Agent(port)

        async with agent.running() as task:
            await gateway.streams(1)
            agent.stop.set()
            async with asyncio.timeout(2.0):
                await task


async def test_the_gateways_limits_lower_those_of_new_batches(serve):
    async def limit(conversation):
        await conversation.welcome(limits=telemetry_pb2.Limits(max_samples_per_batch=10))
        await conversation.ack_everything()

    async with serve(limit) as (_, port):
        agent = Agent(port)
        agent.collect()

        async with agent.running():
            await agent.settled()

            assert agent.uplink.limits == batches.BatchLimits(max_samples=10)
