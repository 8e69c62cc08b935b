"""What happens between two statements: each leaves a consistent state, and says so."""

from __future__ import annotations

import asyncio

import grpc
from structlog.testing import capture_logs

from hostpulse.v1 import telemetry_pb2 as pb
from storage import database as storage_database
from tests.integration.gateway.conftest import running_gateway


async def announce(agent, last_seq):
    return await agent.hello(epochs=[pb.EpochState(epoch=agent.epoch, last_seq=last_seq)])


async def until_a_flush_waits(connection):
    async with asyncio.timeout(5):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hostpulse flush'"
            " AND wait_event_type = 'Lock' AND datname = current_database()"
        ):
            await asyncio.sleep(0.01)


async def test_a_ledger_row_that_was_deleted_by_hand_ends_the_stream_and_comes_back(
    harness, connection
):
    with capture_logs() as logs:
        async with harness.stream() as agent:
            await agent.hello()
            await agent.send_batch(1)
            await agent.ack()
            await connection.execute("DELETE FROM ingest_ledger")
            await agent.send_batch(2)
            assert (await agent.status())[0] == grpc.StatusCode.ABORTED
        async with harness.stream() as agent:
            welcome = await announce(agent, 2)
            await agent.send_batch(2)
            assert (await agent.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert [list(each.ranges) for each in welcome.committed] == [[]]
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 2
    assert await connection.fetchval("SELECT committed::text FROM ingest_ledger") == "{[2,3)}"
    assert "stream_fenced" in [each["event"] for each in logs]


async def test_a_flush_that_is_cut_off_before_its_commit_is_repeated_and_stored_once(
    harness, database, connection
):
    async with harness.stream() as agent:
        await agent.hello()
        blocker = await storage_database.connect(database, "test")
        async with blocker.transaction():
            await blocker.execute("LOCK ingest_ledger IN EXCLUSIVE MODE")
            await agent.send_batch(1)
            await until_a_flush_waits(connection)
            cut = await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'hostpulse flush'"
            )
        await blocker.close()
        ack = await agent.ack()

    assert cut == 1
    assert ack.status == pb.BATCH_STATUS_COMMITTED
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 1


async def test_a_gateway_that_stops_in_mid_flush_commits_all_or_nothing(
    database, admin_key, connection
):
    async with running_gateway(database, admin_key) as harness, harness.stream() as agent:
        await agent.hello()
        for seq in range(1, 200):
            await agent.send_batch(seq)
        await asyncio.sleep(0)

    stored = await connection.fetchval("SELECT count(*) FROM cpu")
    numbers = await connection.fetchval(
        "SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM ingest_ledger, unnest(committed) AS r"
    )
    assert stored == numbers

    async with running_gateway(database, admin_key) as harness, harness.stream() as agent:
        await announce(agent, 199)
        for seq in range(1, 200):
            await agent.send_batch(seq)
        acks = [await agent.ack() for _ in range(199)]

    assert {ack.status for ack in acks} == {pb.BATCH_STATUS_COMMITTED}
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 199


async def test_two_streams_of_one_agent_that_send_the_same_store_it_once(harness, connection):
    async with harness.stream() as old:
        await old.hello()
        for seq in range(1, 50):
            await old.send_batch(seq)
        async with harness.stream() as new:
            await new.hello()
            for seq in range(1, 50):
                await new.send_batch(seq)
            acked = {(await new.ack()).seq for _ in range(49)}

    assert acked == set(range(1, 50))
    assert await connection.fetchval("SELECT count(*) FROM cpu") == 49


async def test_a_dropped_range_never_takes_what_is_stored(harness, connection):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(2)
        await agent.ack()
        dropped = pb.DroppedRange(
            epoch=agent.epoch,
            seqs=pb.SeqRange(first_seq=1, last_seq=3),
            reason=pb.DROP_REASON_SPOOL_CORRUPT,
        )
        for _ in range(2):
            await agent.send(pb.StreamRequest(dropped_range=dropped))
        await agent.send_batch(4)
        await agent.ack()

    gaps = await connection.fetch("SELECT first_seq, last_seq, reason FROM ingest_loss ORDER BY 1")
    assert [tuple(gap) for gap in gaps] == [(1, 1, "spool_corrupt"), (3, 3, "spool_corrupt")]


async def test_what_an_agent_reports_as_lost_is_on_record_before_a_later_batch_is_acked(
    harness, database, connection
):
    async with harness.stream() as agent:
        await agent.hello()
        await agent.send_batch(1)
        await agent.ack()
        blocker = await storage_database.connect(database, "test")
        async with blocker.transaction():
            await blocker.execute("LOCK ingest_gap IN EXCLUSIVE MODE")
            dropped = pb.DroppedRange(
                epoch=agent.epoch,
                seqs=pb.SeqRange(first_seq=2, last_seq=3),
                reason=pb.DROP_REASON_SPOOL_FULL,
            )
            await agent.send(pb.StreamRequest(dropped_range=dropped))
            await agent.send_batch(1)  # known: nothing of it is to be stored
            await until_a_flush_waits(connection)
            ack = asyncio.create_task(agent.ack())
            done, _ = await asyncio.wait({ack}, timeout=0.3)
            assert not done, "an ack tells the agent to forget the range"
        await blocker.close()
        assert (await ack).seq == 1
        assert await connection.fetchval("SELECT seqs::text FROM ingest_gap") == "{[2,4)}"


SLOW_COMMIT = """
CREATE FUNCTION wait_a_while() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON ingest_ledger
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_a_while();
"""


async def test_a_commit_that_takes_long_keeps_no_stream_of_its_servers_out(harness, connection):
    async with harness.stream() as old:
        await old.hello()
        await connection.execute(SLOW_COMMIT)
        await old.send_batch(1)
        async with asyncio.timeout(5):
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hostpulse flush'"
                " AND wait_event = 'PgSleep' AND datname = current_database()"
            ):
                await asyncio.sleep(0.01)
        async with harness.stream() as new:
            await announce(new, 1)
            assert await connection.fetchval("SELECT count(*) FROM cpu") == 0, "it waited"
            await new.send_batch(1)
            assert (await new.ack()).status == pb.BATCH_STATUS_COMMITTED

    assert await connection.fetchval("SELECT count(*) FROM cpu") == 1
