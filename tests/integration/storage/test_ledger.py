from __future__ import annotations

import asyncio
import random
import uuid
from datetime import UTC, datetime

import pytest

from storage import database, ledger
from storage.claims import Claim, Claimed, Refused, claim, release

EPOCH = 77


def claim_of(name: str, *, machine: str = "m1", session: uuid.UUID | None = None, epoch=EPOCH):
    return Claim(
        server_name=name,
        machine_id=machine,
        boot_id=uuid.uuid4(),
        agent_version="1",
        session=session or uuid.uuid4(),
        epochs=(epoch,),
        intervals_s={"cpu": 10.0},
        facts={"hostname": name, "cpu_cores_logical": 2},
    )


def ids(server_id: int, *seqs: int) -> list[ledger.BatchId]:
    return [ledger.BatchId(server_id=server_id, epoch=EPOCH, seq=seq) for seq in seqs]


@pytest.fixture
async def owned(connection):
    session = uuid.uuid4()
    (answer,) = await claim(connection, [claim_of("a", session=session)], gateway="g")
    assert isinstance(answer, Claimed)
    return answer.server_id, session


async def test_a_claim_learns_what_is_committed(connection, owned):
    server_id, session = owned
    async with connection.transaction():
        await ledger.accept(connection, ids(server_id, 1, 2, 3, 7), {server_id: session})

    (answer,) = await claim(connection, [claim_of("a")], gateway="g")

    assert answer.committed == {EPOCH: ((1, 3), (7, 7))}


async def test_many_claims_are_answered_in_their_order(connection):
    claims = [claim_of(f"s{i}") for i in range(300)]

    first = await claim(connection, claims, gateway="g")
    again = await claim(connection, list(reversed(claims)), gateway="g")

    assert [a.server_id for a in again] == [a.server_id for a in reversed(first)]
    assert await connection.fetchval("SELECT count(*) FROM server") == 300
    assert await connection.fetchval("SELECT count(*) FROM family_interval") == 300


async def test_another_machine_under_the_same_name_is_refused(connection, owned):
    server_id, session = owned

    (answer,) = await claim(connection, [claim_of("a", machine="m2")], gateway="g")

    assert answer == Refused(server_id=server_id, machine_id="m1")
    assert await connection.fetchval("SELECT session FROM server") == session


async def test_boots_and_new_versions_are_events(connection, owned):
    await claim(connection, [claim_of("a")], gateway="g")

    assert await connection.fetchval("SELECT array_agg(kind) FROM event") == ["boot"]


async def test_a_goodbye_stops_the_server_unless_a_newer_stream_owns_it(connection, owned):
    server_id, old = owned
    new = uuid.uuid4()
    await claim(connection, [claim_of("a", session=new)], gateway="g")

    await release(connection, server_id, old, "shutdown")
    assert await connection.fetchval("SELECT status FROM server") == "online"

    await release(connection, server_id, new, "shutdown")
    assert await connection.fetchval("SELECT status FROM server") == "stopped"


async def test_several_numbers_of_one_row_are_all_accepted(connection, owned):
    server_id, session = owned
    async with connection.transaction():
        verdicts = await ledger.accept(connection, ids(server_id, 5, 3, 4), {server_id: session})

    assert verdicts.accepted == set(ids(server_id, 3, 4, 5))
    found = await connection.fetchval("SELECT committed::text FROM ingest_ledger")
    assert found == "{[3,6)}"


async def test_what_is_known_is_told_apart_from_what_is_new(connection, owned):
    server_id, session = owned
    async with connection.transaction():
        await ledger.accept(connection, ids(server_id, 1, 2), {server_id: session})

    async with connection.transaction():
        verdicts = await ledger.accept(connection, ids(server_id, 2, 3), {server_id: session})

    assert verdicts.known == set(ids(server_id, 2))
    assert verdicts.accepted == set(ids(server_id, 3))


async def test_a_superseded_stream_is_fenced(connection, owned):
    server_id, session = owned
    await claim(connection, [claim_of("a")], gateway="other")

    async with connection.transaction():
        verdicts = await ledger.accept(connection, ids(server_id, 1), {server_id: session})

    assert verdicts.fenced == set(ids(server_id, 1))


async def test_an_epoch_that_was_never_claimed_is_fenced(connection, owned):
    server_id, session = owned
    stranger = ledger.BatchId(server_id=server_id, epoch=EPOCH + 1, seq=1)

    verdicts = await ledger.accept(connection, [stranger], {server_id: session})

    assert verdicts.fenced == {stranger}


async def test_dropped_batches_become_a_gap_once_and_only_where_nothing_is_stored(
    connection, owned
):
    server_id, session = owned
    async with connection.transaction():
        await ledger.accept(connection, ids(server_id, 2), {server_id: session})
    gap = ledger.Gap(
        server_id=server_id,
        epoch=EPOCH,
        first_seq=1,
        last_seq=4,
        from_time=datetime(2026, 1, 1, tzinfo=UTC),
        to_time=datetime(2026, 1, 2, tzinfo=UTC),
        reason="memory_buffer_full",
    )

    for _ in range(2):
        await ledger.give_up(connection, gap, session)

    rows = await connection.fetch("SELECT seqs::text, reason FROM ingest_gap")
    assert [tuple(row) for row in rows] == [("{[1,2),[3,5)}", "memory_buffer_full")]
    assert await connection.fetchval("SELECT committed::text FROM ingest_ledger") == "{[1,5)}"


async def test_a_touch_is_in_database_time_and_leaves_what_it_does_not_know(connection, owned):
    server_id, _ = owned
    await ledger.touch(
        connection,
        [ledger.Touch(server_id=server_id, clock_offset_ms=5.0, clock_is_wrong=True)],
    )

    await ledger.touch(connection, [ledger.Touch(server_id=server_id)])

    row = await connection.fetchrow(
        "SELECT clock_offset_ms, clock_is_wrong, now() - last_seen < '5 s' AS fresh FROM server"
    )
    assert tuple(row) == (5.0, True, True)


async def test_a_stream_that_lost_its_server_does_not_say_that_the_server_is_there(
    connection, owned
):
    server_id, session = owned
    await connection.execute("UPDATE server SET status = 'stopped', last_seen = NULL")

    await ledger.touch(connection, [ledger.Touch(server_id=server_id, session=uuid.uuid4())])
    assert await connection.fetchval("SELECT status FROM server WHERE last_seen IS NULL")

    await ledger.touch(connection, [ledger.Touch(server_id=server_id, session=session)])
    assert await connection.fetchval("SELECT status FROM server") == "online"


async def test_four_writers_of_the_same_numbers_store_each_of_them_once(database, connection):
    """The numbers of 20 servers, each sent by every writer, in transactions of random make-up."""
    servers, writers, seqs = 20, 4, 60
    sessions: dict[int, uuid.UUID] = {}
    for i in range(servers):
        session = uuid.uuid4()
        (answer,) = await claim(connection, [claim_of(f"s{i}", session=session)], gateway="g")
        sessions[answer.server_id] = session
    await connection.execute("CREATE TABLE stored (server_id int, seq bigint)")

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        mine = [b for server_id in sessions for b in ids(server_id, *range(1, seqs + 1))]
        chance.shuffle(mine)
        own = await database_connect(database)
        while mine:
            work, mine = mine[:50], mine[50:]
            while work:
                verdicts = await flush(own, work, sessions)
                if len(verdicts.accepted) == len(work):
                    break
                work = [batch for batch in work if batch in verdicts.accepted]
        await own.close()

    async with asyncio.timeout(40):
        await asyncio.gather(*(write(seed) for seed in range(writers)))

    row = await connection.fetchrow(
        "SELECT count(*) AS rows, count(DISTINCT (server_id, seq)) AS batches FROM stored"
    )
    assert tuple(row) == (servers * seqs, servers * seqs)
    assert await connection.fetchval(
        "SELECT bool_and(committed::text = $1) FROM ingest_ledger", f"{{[1,{seqs + 1})}}"
    )


class Repeat(Exception):
    pass


async def flush(connection, work, sessions) -> ledger.Verdicts:
    """Copy and enter as the gateway does: roll back unless all of it is accepted."""
    try:
        async with connection.transaction():
            await connection.copy_records_to_table(
                "stored", records=[(b.server_id, b.seq) for b in work]
            )
            verdicts = await ledger.accept(connection, work, sessions)
            if len(verdicts.accepted) < len(work):
                raise Repeat
    except Repeat:
        pass
    return verdicts


async def database_connect(dsn: str):
    return await database.connect(dsn, "writer", lock_timeout_s=30)
