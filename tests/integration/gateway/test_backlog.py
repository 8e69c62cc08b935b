from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from collector_gateway.credits import STREAM_MAX
from hostpulse.v1 import telemetry_pb2 as pb

NS_PER_S = 1_000_000_000


async def hello(agent, *, last_seq):
    return await agent.hello(
        epochs=[pb.EpochState(epoch=agent.epoch, last_seq=last_seq)],
        capabilities=[pb.CAPABILITY_BACKFILL],
    )


def old_batch(agent, seq, *, age_s):
    batch = agent.batch(seq)
    batch.lane = pb.LANE_BACKFILL
    batch.time_unix_ns -= round(age_s * NS_PER_S)
    batch.boot_id = b"an earlier boot!"  # this one may be younger than the batch
    return pb.StreamRequest(batch=batch)


async def next_of(agent, kind):
    """The next message of a kind, and those before it."""
    others = []
    while True:
        response = await agent.receive()
        if response.WhichOneof("message") == kind:
            return getattr(response, kind), others
        others.append(response)


async def test_credits_are_given_for_what_hello_announced_and_is_not_committed(harness):
    async with harness.stream() as agent:
        welcome = await hello(agent, last_seq=10)
        credit, _ = await next_of(agent, "backfill_credit")

    assert pb.CAPABILITY_BACKFILL in welcome.capabilities
    assert credit.batches == 10


async def test_more_credits_follow_as_batches_are_committed(harness):
    async with harness.stream() as agent:
        await hello(agent, last_seq=200)
        first, _ = await next_of(agent, "backfill_credit")
        for seq in range(1, first.batches + 1):
            await agent.send(old_batch(agent, seq, age_s=3600))
        more, _ = await next_of(agent, "backfill_credit")

    assert first.batches == STREAM_MAX
    assert more.batches >= 32


async def test_batches_that_are_refused_for_good_use_up_no_credit(harness):
    async with harness.stream() as agent:
        await hello(agent, last_seq=300)
        granted, sent, acked = 0, 0, 0
        while acked < 300:
            response = await agent.receive()
            granted += response.backfill_credit.batches
            acked += response.HasField("ack")
            while sent < min(granted, 300):
                sent += 1
                await agent.send(old_batch(agent, sent, age_s=7 * 86400))

    assert granted == 300


async def test_no_transaction_holds_fresh_and_old_samples_or_two_hours(harness, connection):
    async with harness.stream() as agent:
        await hello(agent, last_seq=60)
        await next_of(agent, "backfill_credit")
        for seq in range(1, 61):
            await agent.send(old_batch(agent, seq, age_s=seq * 600))
            await agent.send_batch(1000 + seq)
        acks = 0
        while acks < 120:
            acks += (await agent.receive()).HasField("ack")

    mixed = await connection.fetchval(
        """
        SELECT count(*) FROM (
          SELECT xmin::text,
                 count(DISTINCT date_trunc('hour', time)) FILTER (WHERE is_old) AS hours,
                 bool_or(is_old) AND bool_or(NOT is_old) AS is_mixed
          FROM (SELECT xmin, time, time < now() - interval '5 minutes' AS is_old FROM cpu) c
          GROUP BY xmin::text
        ) t WHERE hours > 1 OR is_mixed
        """
    )
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 120
    assert mixed == 0


async def test_fresh_samples_are_visible_within_a_second_while_a_backlog_drains(harness):
    async with harness.stream() as returning, harness.stream(epoch=6) as steady:
        await hello(returning, last_seq=1500)
        await steady.hello("b")
        lags_s, granted, sent, acked = [], 0, 0, 0
        while acked < 1500:
            response = await returning.receive()
            granted += response.backfill_credit.batches
            acked += response.HasField("ack")
            while sent < min(granted, 1500):
                sent += 1
                await returning.send(old_batch(returning, sent, age_s=300 + sent * 10))
            if acked % 100 == 50:
                begun = time.monotonic()
                await steady.send_batch(len(lags_s) + 1)
                await steady.ack()
                lags_s.append(time.monotonic() - begun)

    assert len(lags_s) >= 10
    assert max(lags_s) < 1.0


async def test_backlog_that_may_not_be_written_yet_keeps_no_fresh_samples_waiting(
    harness, connection
):
    age_s = 30 * 3600
    day = datetime.now(UTC) - timedelta(seconds=age_s)
    async with harness.stream() as returning, harness.stream(epoch=6) as steady:
        await hello(returning, last_seq=10)
        await next_of(returning, "backfill_credit")
        await steady.hello("b")
        lags_s = []
        async with connection.transaction():  # as TimescaleDB does while it compresses a chunk
            await connection.execute(
                f"LOCK TABLE hostpulse_internal.cpu_{day:%Y%m%d} IN EXCLUSIVE MODE"
            )
            await returning.send(old_batch(returning, 1, age_s=age_s))
            for seq in range(1, 41):
                begun = time.monotonic()
                await steady.send_batch(seq)
                await steady.ack()
                lags_s.append(time.monotonic() - begun)
                await asyncio.sleep(0.05)
            held = await connection.fetchval("SELECT count(*) FROM cpu WHERE time < $1", day)
        ack = await returning.ack()

    assert max(lags_s) < 0.5
    assert held == 0
    assert ack.seq == 1
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 41
