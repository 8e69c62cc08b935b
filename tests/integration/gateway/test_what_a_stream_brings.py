from __future__ import annotations

import asyncio
import math
import time
import uuid
from datetime import UTC, datetime
from itertools import pairwise

import grpc
import pytest

from alerting import causes
from alerting.observations import Cause
from hostpulse.v1 import telemetry_pb2 as pb


async def test_an_ack_comes_after_the_commit(harness, connection):
    async with harness.stream() as agent:
        welcome = await agent.hello()
        await agent.send_batch(1, cpu=pb.CpuSample(usage_percent=42.5))
        ack = await agent.ack()

        # Nothing is awaited between the ack and this: the row must be there already.
        stored = await connection.fetchval("SELECT usage_percent FROM cpu")

    assert (ack.epoch, ack.seq, ack.status) == (5, 1, pb.BATCH_STATUS_COMMITTED)
    assert stored == 42.5
    assert welcome.limits.max_samples_per_batch == 100


async def test_a_batch_that_is_sent_again_is_acked_and_stored_once(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        for _ in range(3):
            await agent.send_batch(1)
        acks = [await agent.ack() for _ in range(3)]
        await agent.send_batch(1)
        acks.append(await agent.ack())

    assert {ack.status for ack in acks} == {pb.BATCH_STATUS_COMMITTED}
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 1


async def test_welcome_tells_the_agent_what_to_forget(harness):
    async with harness.stream() as agent:
        await agent.hello()
        for seq in (1, 2, 4):
            await agent.send_batch(seq)
        for _ in range(3):
            await agent.ack()

    async with harness.stream() as agent:
        welcome = await agent.hello(epochs=[pb.EpochState(epoch=5, last_seq=4)])

    ranges = [(r.first_seq, r.last_seq) for c in welcome.committed for r in c.ranges]
    assert ranges == [(1, 2), (4, 4)]


async def test_a_bad_sample_is_rejected_by_its_index_and_the_others_are_stored(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(
            1,
            cpu=pb.CpuSample(usage_percent=math.nan),
            network=[pb.NetworkSample(interface="eth0", rx_bytes_per_s=1)],
        )
        ack = await agent.ack()
        await agent.send_batch(2)
        assert (await agent.ack()).seq == 2

    assert ack.status == pb.BATCH_STATUS_COMMITTED
    assert [(r.index, r.reason) for r in ack.rejected] == [(0, pb.REJECT_REASON_INVALID)]
    assert "cpu.usage_percent" in ack.rejected[0].detail
    assert await connection.fetchval("SELECT count(*) FROM network") == 1


@pytest.mark.parametrize(
    "families",
    [
        pytest.param(
            {"process": [pb.ProcessSample(pid=i, name="p") for i in range(1001)]}, id="samples"
        ),
        pytest.param(
            {"process": [pb.ProcessSample(pid=i, cmdline="x" * 4000) for i in range(80)]},
            id="bytes",
        ),
    ],
)
async def test_an_over_limit_batch_is_answered_in_band_and_recorded(harness, connection, families):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1, **families)
        ack = await agent.ack()
        await agent.send_batch(2)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert (ack.status, ack.reason) == (pb.BATCH_STATUS_REJECTED, pb.REJECT_REASON_OVER_LIMIT)
    assert await connection.fetchval("SELECT count(*) FROM process") == 0
    gap = await connection.fetchrow("SELECT seqs::text, reason FROM ingest_gap")
    assert tuple(gap) == ("{[1,2)}", "over_limit")
    assert await connection.fetchval("SELECT committed::text FROM ingest_ledger") == "{[1,3)}"


async def test_a_batch_that_is_too_old_is_given_up_for_good(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        old = agent.batch(1)
        old.time_unix_ns -= 7 * 86400 * 1_000_000_000
        old.monotonic_ns = 0
        old.boot_id = b"earlier boot 123"
        await agent.send(pb.StreamRequest(batch=old))
        ack = await agent.ack()

    assert (ack.status, ack.reason) == (pb.BATCH_STATUS_REJECTED, pb.REJECT_REASON_TOO_OLD)
    assert await connection.fetchval("SELECT reason FROM ingest_gap") == "too_old"


async def test_a_batch_of_an_unknown_epoch_is_rejected_and_the_stream_lives_on(harness):
    async with harness.stream() as agent:
        await agent.hello()
        stranger = agent.batch(1)
        stranger.epoch = 6
        await agent.send(pb.StreamRequest(batch=stranger))
        ack = await agent.ack()
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert (ack.status, ack.reason) == (pb.BATCH_STATUS_REJECTED, pb.REJECT_REASON_UNKNOWN_EPOCH)


async def test_what_the_database_refuses_is_parked_and_the_others_are_stored(harness, connection):
    await connection.execute(
        "ALTER TABLE network ADD CONSTRAINT no_tun CHECK (interface <> 'tun0')"
    )
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1, network=[pb.NetworkSample(interface="eth0")])
        await agent.send_batch(2, network=[pb.NetworkSample(interface="tun0")])
        await agent.send_batch(3, network=[pb.NetworkSample(interface="eth1")])
        acks = {ack.seq: ack for ack in [await agent.ack() for _ in range(3)]}

    assert acks[1].status == acks[3].status == pb.BATCH_STATUS_COMMITTED
    assert (acks[2].status, acks[2].reason) == (
        pb.BATCH_STATUS_REJECTED,
        pb.REJECT_REASON_STORAGE,
    )
    assert await connection.fetchval("SELECT count(*) FROM network") == 2
    parked = await connection.fetchrow("SELECT seq, sqlstate, batch FROM dead_letter")
    assert (parked["seq"], parked["sqlstate"]) == (2, "23514")
    kept = pb.StreamRequest.FromString(parked["batch"]).batch
    assert kept.network[0].interface == "tun0"
    assert await connection.fetchval("SELECT reason FROM ingest_gap") == "parked"


async def test_a_missing_partition_is_made_and_nothing_is_parked(harness, connection):
    """A gateway that was off longer than partitions are made ahead finds none for today."""
    today = await connection.fetchval("SELECT to_char(now(), 'YYYYMMDD')")
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1)
        await agent.ack()
        await connection.execute(f"DROP TABLE hostpulse_internal.cpu_{today}")
        await agent.send_batch(2)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert await connection.fetchval("SELECT count(*) FROM cpu") == 1
    assert await connection.fetchval("SELECT count(*) FROM dead_letter") == 0


async def test_garbage_ends_only_its_own_stream(harness):
    async with harness.stream() as good, harness.stream(epoch=6) as bad:
        await good.hello("good")
        await bad.hello("bad")
        await bad.call.write(b"\xff\xff\xff\xff garbage")
        assert (await bad.status())[0] == grpc.StatusCode.INVALID_ARGUMENT

        await good.send_batch(1)
        assert (await good.ack()).status == pb.BATCH_STATUS_COMMITTED


@pytest.mark.parametrize(
    ("reason", "word", "cause"),
    [
        pytest.param(pb.GOODBYE_REASON_SHUTDOWN, "shutdown", Cause.SHUTDOWN, id="shutdown"),
        pytest.param(pb.GOODBYE_REASON_REBOOT, "reboot", Cause.REBOOT, id="reboot"),
        pytest.param(pb.GOODBYE_REASON_UPGRADE, "upgrade", Cause.SHUTDOWN, id="upgrade"),
        pytest.param(99, "unknown_99", Cause.SHUTDOWN, id="a newer agent's"),
    ],
)
async def test_a_goodbye_is_recorded_with_its_reason_after_the_last_batch(
    harness, connection, reason, word, cause
):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1)
        await agent.send(pb.StreamRequest(goodbye=pb.Goodbye(reason=reason)))
        await agent.call.done_writing()
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED
        assert (await agent.status())[0] == grpc.StatusCode.OK

    async with asyncio.timeout(5):
        while await connection.fetchval("SELECT status FROM server") != "stopped":
            await asyncio.sleep(0.02)
    server = await connection.fetchrow("SELECT id, status_reason FROM server")
    event = await connection.fetchval("SELECT detail FROM event WHERE kind = 'goodbye'")
    assert server["status_reason"] == event["reason"] == word
    assert await causes.load(connection, [server["id"]], ()) == {server["id"]: cause}


async def test_a_heartbeat_says_that_the_server_lives(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await connection.execute("UPDATE server SET last_seen = now() - interval '1 hour'")
        await agent.send(pb.StreamRequest(heartbeat=pb.Heartbeat(time_unix_ns=time.time_ns())))
        async with asyncio.timeout(5):
            while await connection.fetchval("SELECT now() - last_seen > '1 minute' FROM server"):
                await asyncio.sleep(0.02)


async def test_messages_of_a_newer_agent_are_ignored(harness):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.call.write(bytes([0xFA, 0x3E, 0x01, 0x61]))  # field 1007, unknown to us
        await agent.send_batch(1)
        assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED


async def test_a_clock_that_is_an_hour_off_is_corrected_and_flagged(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        batch = agent.batch(1)
        batch.time_unix_ns += 3600 * 1_000_000_000
        await agent.send(pb.StreamRequest(batch=batch))
        await agent.ack()

    assert await connection.fetchval("SELECT abs(extract(epoch FROM now() - time)) < 5 FROM cpu")
    assert await connection.fetchval("SELECT clock_is_wrong FROM server")


async def test_a_backlog_of_another_boot_keeps_its_correction_over_several_streams(
    harness, connection
):
    """A clock an hour ahead, a reboot that sets it right, and a stream that breaks meanwhile."""
    hour_ns = 3600 * 1_000_000_000
    async with harness.stream(epoch=5) as agent:
        await agent.hello()
        batch = agent.batch(1)
        batch.time_unix_ns += hour_ns
        await agent.send(pb.StreamRequest(batch=batch))
        await agent.ack()
        before = [agent.batch(seq) for seq in range(2, 6)]
    for seq, old in enumerate(before):
        old.time_unix_ns += hour_ns + seq * 10_000_000_000
        old.cpu.usage_percent = 50

    boot_id = uuid.uuid4().bytes
    for number, part in enumerate((before[:2], before[2:])):
        async with harness.stream(epoch=6) as agent:
            agent.boot_id = boot_id
            await agent.hello(epochs=[pb.EpochState(epoch=5, last_seq=5)])
            for old in part:
                await agent.send(pb.StreamRequest(batch=old))
                await agent.ack()
            await agent.send_batch(1 + number)  # by a clock that is right
            await agent.ack()

    rows = await connection.fetch("SELECT time FROM cpu WHERE usage_percent = 50 ORDER BY time")
    times = [row["time"] for row in rows]
    steps = [(b - a).total_seconds() for a, b in pairwise(times)]
    assert steps == pytest.approx([10.0] * 3, abs=1.0)
    assert abs((times[0] - datetime.now(UTC)).total_seconds()) < 30


async def test_many_streams_share_transactions(harness, connection):
    async def one(i: int) -> None:
        async with harness.stream(epoch=100 + i) as agent:
            await agent.hello(f"s{i}")
            for seq in range(1, 11):
                await agent.send_batch(seq)
            for _ in range(10):
                assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    before = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM cpu")
    async with asyncio.timeout(30):
        await asyncio.gather(*(one(i) for i in range(50)))

    assert await connection.fetchval("SELECT count(*) FROM cpu") == 500
    transactions = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM cpu") - before
    assert transactions < 100
