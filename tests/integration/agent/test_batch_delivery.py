from __future__ import annotations

import asyncio

import grpc

from agent import batches, spool_buffer
from agent.buffer import BufferBounds
from agent.spool_buffer import SpoolBuffer
from hostpulse.v1 import telemetry_pb2
from tests.uplink_runner import PATIENCE_S, Agent, silence, welcome_and_ack


async def test_acked_batches_leave_the_buffer(serve):
    async with serve(welcome_and_ack) as (_gateway, port):
        agent = Agent(port)
        agent.collect(3)

        async with agent.running():
            agent.collect(2)
            await agent.settled()

        assert agent.counters.sent_batches == 5
        assert agent.counters.failed_sends == 0


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
