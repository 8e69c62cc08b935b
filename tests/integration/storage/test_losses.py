from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from storage import ledger, losses, maintenance
from storage.claims import Claim, claim

HOUR = timedelta(hours=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """A server whose streams open and store as the test says."""

    def __init__(self, connection, name="a"):
        self.connection, self.name = connection, name
        self.id, self.session = 0, uuid.uuid4()

    async def opens(self, **announced):
        """Open a stream that announces epochs, as `e5=12`."""
        epochs = {int(name[1:]): last for name, last in announced.items()}
        self.session = uuid.uuid4()
        (answer,) = await claim(
            self.connection,
            [
                Claim(
                    server_name=self.name,
                    machine_id="m1",
                    boot_id=None,
                    agent_version="1",
                    session=self.session,
                    epochs=tuple(epochs),
                    announced=epochs,
                )
            ],
            gateway="g",
        )
        self.id = answer.server_id
        return self

    async def stores(self, epoch, *seqs):
        batches = [ledger.BatchId(server_id=self.id, epoch=epoch, seq=seq) for seq in seqs]
        async with self.connection.transaction():
            verdicts = await ledger.accept(self.connection, batches, {self.id: self.session})
        assert len(verdicts.accepted) == len(seqs)

    async def gives_up(self, epoch, first, last, reason):
        gap = ledger.Gap(
            server_id=self.id,
            epoch=epoch,
            first_seq=first,
            last_seq=last,
            from_time=T0,
            to_time=T0 + HOUR,
            reason=reason,
        )
        async with self.connection.transaction():
            await ledger.give_up(self.connection, gap, self.session)


@pytest.fixture
async def server(connection):
    return Server(connection)


def seen(found):
    return sorted(
        (each.epoch, each.first_seq, each.last_seq, each.state.value, each.reason) for each in found
    )


async def test_nothing_is_missing_of_what_came_without_holes(connection, server):
    await server.opens(e5=0)
    await server.stores(5, 1, 2, 3)

    assert list(await losses.find(connection)) == []
    assert await losses.count(connection) == [losses.Count(server="a", lost=0, parked=0, pending=0)]


async def test_what_the_agent_still_has_is_pending(connection, server):
    await server.opens(e5=6)
    await server.stores(5, 1, 2, 5, 8)

    assert seen(await losses.find(connection, "a")) == [
        (5, 3, 4, "pending", "not delivered yet"),
        (5, 6, 7, "pending", "not delivered yet"),
    ]


async def test_what_was_given_up_has_its_times_and_its_reason(connection, server):
    await server.opens(e5=6)
    await server.stores(5, 3)
    await server.gives_up(5, 1, 4, "spool_full")
    await server.stores(5, 5, 6)

    found = await losses.find(connection, "a")

    assert seen(found) == [(5, 1, 2, "lost", "spool_full"), (5, 4, 4, "lost", "spool_full")]
    assert (found[0].from_time, found[0].to_time) == (T0, T0 + HOUR)


async def test_the_lost_tail_of_a_dead_epoch_is_a_gap(connection, server):
    await server.opens(e5=9)
    await server.stores(5, 1, 2, 3, 4, 6)

    await server.opens(e7=0)

    found = await losses.find(connection, "a")
    assert seen(found) == [(5, 5, 5, "lost", "unknown"), (5, 7, 9, "lost", "unknown")]
    assert all(each.from_time <= each.to_time for each in found)
    assert (await losses.count(connection, "a"))[0].lost == 4


async def test_a_tail_that_a_power_cut_took_is_lost_as_soon_as_its_agent_is_back(
    connection, server
):
    await server.opens(e5=9)
    await server.stores(5, 1, 2)
    await server.opens(e7=0, e5=6)  # its spool is older than what it had announced

    assert seen(await losses.find(connection)) == [
        (5, 3, 6, "pending", "not delivered yet"),
        (5, 7, 9, "lost", "unknown"),
    ]
    await server.stores(5, 3, 4, 5, 6)
    await server.opens(e7=4)
    assert seen(await losses.find(connection))[0] == (5, 7, 9, "lost", "unknown")
    assert (await losses.count(connection, "a"))[0].lost == 3


async def test_a_tail_that_comes_back_after_all_is_pending_again(connection, server):
    await server.opens(e5=9)
    await server.opens(e7=0, e5=6)
    await server.opens(e7=0, e5=9)

    assert seen(await losses.find(connection)) == [(5, 1, 9, "pending", "not delivered yet")]


async def test_an_epoch_that_comes_back_from_a_restored_disk_is_pending_again(connection, server):
    await server.opens(e5=3)
    await server.opens(e7=0)
    await server.opens(e5=3, e7=0)

    assert seen(await losses.find(connection)) == [(5, 1, 3, "pending", "not delivered yet")]


async def test_losses_are_those_of_one_server_and_since_a_time(connection, server):
    await server.opens(e5=2)
    await server.gives_up(5, 1, 2, "too_old")
    other = await Server(connection, "b").opens(e5=1)
    await other.gives_up(5, 1, 1, "too_old")

    assert len(await losses.find(connection)) == 2
    assert [each.server for each in await losses.find(connection, "b")] == ["b"]
    assert await losses.find(connection, "a", since=T0 + 2 * HOUR) == []
    assert (await losses.count(connection, "a", since=T0 + 2 * HOUR))[0].lost == 0


async def test_dead_epochs_are_compacted_and_their_losses_stay(connection, server):
    await server.opens(e5=4)
    await server.stores(5, 1, 3)
    await server.opens(e7=0)
    await server.stores(7, 1)
    before = seen(await losses.find(connection))
    await connection.execute(
        "UPDATE ingest_epoch SET closed_at = closed_at - interval '8 days' WHERE epoch = 5"
    )

    await maintenance.maintain(connection)

    assert before == [(5, 2, 2, "lost", "unknown"), (5, 4, 4, "lost", "unknown")]
    assert seen(await losses.find(connection)) == before
    assert await connection.fetchval("SELECT array_agg(epoch) FROM ingest_ledger") == [7]
    assert await connection.fetchval("SELECT array_agg(epoch) FROM ingest_epoch") == [7]


async def test_an_epoch_that_its_agent_still_announces_is_never_compacted(connection, server):
    await server.opens(e5=4)
    await server.opens(e5=4, e7=0)
    await connection.execute("UPDATE ingest_epoch SET opened_at = opened_at - interval '9 days'")

    await maintenance.maintain(connection)

    assert await connection.fetchval("SELECT count(*) FROM ingest_ledger") == 2
