from __future__ import annotations

import asyncio

import pytest

from agent import checkpoints
from agent.batches import NumberedBatch
from agent.spool_buffer import SpoolBuffer

IDLE_S, BACKLOG_S = checkpoints.CHECKPOINT_IDLE_S, checkpoints.CHECKPOINT_BACKLOG_S


class Wal:
    """A spool that counts its checkpoints, and has so much in its WAL."""

    def __init__(self, wal_bytes=10_000):
        self.bytes = wal_bytes
        self.made = 0

    def wal_bytes(self):
        return self.bytes

    def checkpoint(self):
        self.made += 1


class Time:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.mark.parametrize(
    ("at_s", "batches", "wal_bytes", "expected"),
    [
        pytest.param(IDLE_S - 1, 1, 10_000, False, id="steady, early"),
        pytest.param(IDLE_S, 1, 10_000, True, id="steady, in time"),
        pytest.param(BACKLOG_S, 1000, 10_000, True, id="with a backlog"),
        pytest.param(BACKLOG_S - 1, 1000, 10_000, False, id="with a backlog, early"),
        pytest.param(1, 1000, checkpoints.WAL_MAX_BYTES, True, id="much was written"),
        pytest.param(10 * IDLE_S, 0, 0, False, id="nothing was written"),
    ],
)
def test_a_checkpoint_is_due_rarely_and_sooner_where_more_is_at_stake(
    at_s, batches, wal_bytes, expected
):
    time = Time()
    due = checkpoints.Checkpoints(now_s=time)
    time.now_s = at_s

    assert due.is_due(Wal(wal_bytes), batches=batches) is expected


async def test_a_day_of_ticks_waits_for_the_disk_less_than_once_a_minute():
    time, wal = Time(), Wal()
    due = checkpoints.Checkpoints(now_s=time)
    for _ in range(0, 86_400, 5):
        time.now_s += 5
        if due.is_due(wal, batches=1):
            await due.make(wal.checkpoint)

    assert 280 <= wal.made <= 288
    assert 3 * wal.made / 1440 < 1  # three waits each


async def test_the_buffer_makes_checkpoints_beside_its_writes_and_the_file_does_not_grow(tmp_path):
    buffer = SpoolBuffer(tmp_path, boot_id=bytes(16))
    rounds = iter(range(12))
    sizes = []

    async def pause(_seconds, stop):
        number = next(rounds, None)
        if number is None:
            stop.set()
            return True
        for seq in range(number * 500 + 1, number * 500 + 501):
            buffer.put(
                NumberedBatch(
                    epoch=1,
                    seq=seq,
                    time_unix_ns=seq,
                    monotonic_ns=seq,
                    samples=1,
                    payload=bytes(4000),
                )
            )
            buffer.settle(1, seq)
        sizes.append(sum(each.stat().st_size for each in (tmp_path / "spool").iterdir()))
        return False

    await buffer.keep(asyncio.Event(), pause)
    buffer.close()

    assert max(sizes) < 2 * checkpoints.WAL_MAX_BYTES
    assert max(sizes[6:]) <= max(sizes[:6])
