from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from agent.batches import NumberedBatch
from agent.buffer import BufferBounds
from agent.spool import Spool
from agent.spool_buffer import FILE, SpoolBuffer
from agent.spool_room import EPOCHS_MAX
from agent.spool_rows import cost_bytes
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

BOOT = b"b" * 16
EPOCH = 7
COST = cost_bytes(100)
ROOT = Path(__file__).parents[3]


def batch(seq, *, epoch=EPOCH, at_s=1000.0, wall_s=None, size=100):
    return NumberedBatch(
        epoch=epoch,
        seq=seq,
        time_unix_ns=round((at_s if wall_s is None else wall_s) * NS_PER_S),
        monotonic_ns=round(at_s * NS_PER_S),
        samples=3,
        payload=random.Random(f"{epoch} {seq}").randbytes(size),
    )


@pytest.fixture
def opened(tmp_path):
    """Open buffers in one directory, as one process after another does."""
    buffers = []

    def open_buffer(*, boot_id=BOOT, **bounds):
        for earlier in buffers:
            earlier.close()
        buffers.append(SpoolBuffer(tmp_path, boot_id=boot_id, bounds=BufferBounds(**bounds)))
        return buffers[-1]

    yield open_buffer
    for each in buffers:
        each.close()


def kept(buffer, *, after=0):
    found = buffer.page(after=after, limit=10_000)
    for each in found:
        assert each.batch.payload == batch(each.batch.seq, epoch=each.batch.epoch).payload
    return [(each.batch.epoch, each.batch.seq) for each in found]


def fill(buffer, count, **fields):
    for seq in range(1, count + 1):
        buffer.put(batch(seq, **fields))
    return buffer


def of(*seqs, epoch=EPOCH):
    return [(epoch, seq) for seq in seqs]


def test_what_was_put_is_there_for_the_next_process_in_its_order(opened):
    fill(opened(), 3)

    buffer = opened()
    buffer.put(batch(1, epoch=8))

    assert kept(buffer) == [*of(1, 2, 3), (8, 1)]
    assert [(each.epoch, each.last_seq) for each in buffer.epochs()] == [(EPOCH, 3), (8, 1)]
    assert buffer.stats().batches == 4
    assert buffer.stats().unspooled == 0


def test_what_has_its_verdict_is_not_offered_again(opened):
    buffer = fill(opened(), 4)

    assert buffer.settle(EPOCH, 2)
    assert not buffer.settle(EPOCH, 2)
    assert kept(buffer) == of(1, 3, 4)
    buffer.put(batch(5))
    assert buffer.stats().batches == 4
    assert buffer.stats().bytes == 4 * COST
    assert kept(opened()) == of(1, 3, 4, 5)


def test_committed_ranges_are_forgotten(opened):
    buffer = fill(opened(), 9)

    assert buffer.forget(EPOCH, [(1, 3), (7, 90)]) == 6
    assert kept(opened()) == of(4, 5, 6)


def test_the_last_number_of_an_epoch_is_known_when_only_older_batches_are_left(opened):
    buffer = fill(opened(), 5)
    for seq in (3, 4, 5):
        buffer.settle(EPOCH, seq)

    assert [(each.epoch, each.last_seq) for each in opened().epochs()] == [(EPOCH, 5)]


def test_an_epoch_that_has_nothing_left_is_not_announced(opened):
    buffer = fill(opened(), 2)
    buffer.forget(EPOCH, [(1, 2)])

    assert list(opened().epochs()) == []


def test_a_full_spool_drops_the_oldest_and_remembers_that_for_the_next_process(opened):
    fill(opened(max_bytes=4 * COST), 10)

    buffer = opened()
    (dropped,) = buffer.dropped
    assert kept(buffer) == of(7, 8, 9, 10)
    assert (dropped.epoch, dropped.first_seq, dropped.last_seq) == (EPOCH, 1, 6)
    assert dropped.reason == pb.DROP_REASON_SPOOL_FULL
    buffer.reported(dropped)
    assert opened().dropped == ()


def test_what_is_too_old_is_dropped_by_the_monotonic_clock_of_this_boot(opened):
    buffer = opened(max_age_s=60)
    buffer.put(batch(1, at_s=0, wall_s=10**9))
    buffer.put(batch(2, at_s=30, wall_s=0))

    buffer.put(batch(3, at_s=61, wall_s=5))

    assert [each.batch.seq for each in buffer.page(after=0, limit=9)] == [2, 3]
    assert [each.reason for each in buffer.dropped] == [pb.DROP_REASON_TOO_OLD]


def test_what_is_of_another_boot_is_too_old_by_the_wall_clock(opened):
    before = opened(max_age_s=60)
    before.put(batch(1, at_s=9_000, wall_s=100))
    before.put(batch(2, at_s=9_001, wall_s=150))

    after = opened(boot_id=b"c" * 16, max_age_s=60)
    after.put(batch(1, epoch=8, at_s=5, wall_s=170))

    assert [each.batch.seq for each in after.page(after=0, limit=9)] == [2, 1]


def test_what_is_fresh_is_told_from_the_backlog(opened):
    buffer = opened()
    for seq, at_s in enumerate((10, 20, 90, 95), 1):
        buffer.put(batch(seq, at_s=at_s))

    place = buffer.live_after(80 * NS_PER_S)

    assert [each.batch.seq for each in buffer.page(after=place, limit=9)] == [3, 4]
    assert buffer.page(after=buffer.live_after(96 * NS_PER_S), limit=9) == ()


def test_too_many_epochs_lose_the_oldest_and_say_so(opened, tmp_path):
    spool = Spool(tmp_path / FILE)
    with spool.transaction():
        for epoch in range(1, EPOCHS_MAX + 4):
            spool.insert(epoch, batch(1, epoch=epoch), BOOT)
    spool.close()

    buffer = opened()

    assert buffer.stats().batches == EPOCHS_MAX
    assert [each.epoch for each in buffer.dropped] == [1, 2, 3]
    assert len(buffer.epochs()) == EPOCHS_MAX + 3


def test_a_second_agent_on_the_same_spool_keeps_its_batches_in_memory(opened, tmp_path, caplog):
    first = fill(opened(), 1)
    second = SpoolBuffer(tmp_path, boot_id=BOOT)

    second.put(batch(1, epoch=8))

    assert kept(second) == [(8, 1)]
    assert second.stats().unspooled == 1
    assert "another agent" in caplog.records[0].error
    first.close()
    second.close()
    assert second.stats().unspooled == 0
    assert kept(opened()) == [*of(1), (8, 1)]


class FullDisk(Spool):
    """A spool whose disk takes nothing while `full`."""

    full = True

    def insert(self, place, batch, boot_id):
        if FullDisk.full:
            raise sqlite_full()
        super().insert(place, batch, boot_id)


def sqlite_full() -> Exception:
    """The error that SQLite really raises, translated as the spool does."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 1")
    from agent.spool_file import explained

    try:
        with explained():
            connection.execute("CREATE TABLE t (x)")
            connection.executemany("INSERT INTO t VALUES (?)", [("x" * 5000,)] * 10)
    except Exception as error:
        return error
    finally:
        connection.close()
    raise AssertionError("SQLite took more than it may")


def test_a_full_disk_moves_new_batches_to_memory_and_back_when_there_is_room(
    opened, caplog, monkeypatch
):
    buffer = fill(opened(), 2)
    FullDisk.full = True
    monkeypatch.setattr(buffer._access.spool, "__class__", FullDisk)
    for seq in (3, 4):
        buffer.put(batch(seq, at_s=1_000 + seq))

    assert kept(buffer) == of(1, 2, 3, 4)
    assert buffer.stats().unspooled == 2
    assert buffer.settle(EPOCH, 3)
    assert [each.getMessage() for each in caplog.records] == ["spool_unusable"]

    FullDisk.full = False
    buffer.put(batch(5, at_s=1_005))
    assert buffer.stats().unspooled == 1
    buffer.put(batch(6, at_s=1_100))

    assert buffer.stats().unspooled == 0
    assert sorted(kept(opened())) == of(1, 2, 4, 5, 6)


def test_a_directory_that_can_not_be_made_leaves_the_memory(tmp_path, caplog):
    (tmp_path / "spool").write_text("a file in the way")

    buffer = fill(SpoolBuffer(tmp_path, boot_id=BOOT), 2)

    assert kept(buffer) == of(1, 2)
    assert buffer.stats().unspooled == 2
    assert [each.getMessage() for each in caplog.records] == ["spool_unusable"]


def test_a_smaller_bound_counts_from_the_next_batch_on(opened):
    buffer = opened(max_bytes=100 * COST)
    fill(buffer, 10)

    buffer.rebound(BufferBounds(max_bytes=3 * COST))
    buffer.put(batch(11))

    assert kept(buffer) == [(EPOCH, seq) for seq in (9, 10, 11)]
    assert buffer.stats().dropped_samples == 8 * 3
