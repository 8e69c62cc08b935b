"""A power cut: what the kernel had not written yet is gone, torn, or there in any order.

Simulated after what SQLite in WAL mode with `synchronous=NORMAL` promises of its writes
(https://www.sqlite.org/wal.html): a commit only appends to the WAL, and waits for nothing; a
checkpoint waits for the WAL, writes the file, waits for the file; whoever writes next begins the
WAL anew with a header that is waited for. What happened since the last wait may be on the disk or
not, sector by sector, in any mixture. The order was checked against a system call trace.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import batches
from agent.batches import NumberedBatch
from agent.spool_buffer import SpoolBuffer
from agent.spool_file import connect
from agent.spool_rows import VERSION
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

BOOT = b"b" * 16
EPOCH = 5
SECTOR_BYTES = 512
WAL_HEADER_BYTES = 32
SETTLED = {3, 17, 41, 55}
NAMES = ("spool.db", "spool.db-wal")


def batch(seq, *, epoch=EPOCH):
    return NumberedBatch(
        epoch=epoch,
        seq=seq,
        time_unix_ns=seq * NS_PER_S,
        monotonic_ns=seq * NS_PER_S,
        samples=2,
        payload=random.Random(f"{epoch} {seq}").randbytes(700),
    )


@dataclass(frozen=True)
class Interval:
    """Between two waits for the disk: what is surely there, and what may be.

    `put` are the last numbers of the two states.
    """

    name: str
    before: dict[str, bytes]
    after: dict[str, bytes]
    put: tuple[int, int]


def files(place):
    return {name: (place / "spool" / name).read_bytes() for name in NAMES}


def fill(buffer, first, last):
    for seq in range(first, last + 1):
        buffer.put(batch(seq))
        if seq in SETTLED:
            buffer.settle(EPOCH, seq)


@pytest.fixture(scope="module")
def intervals(tmp_path_factory):
    """Every kind of interval that there is in the life of a spool, twice round."""
    place = tmp_path_factory.mktemp("spool")
    buffer = SpoolBuffer(place, boot_id=BOOT)
    fill(buffer, 1, 10)
    buffer._access.spool.checkpoint()
    found, last = [], 10
    for turn in (1, 2):
        synced = files(place)
        fill(buffer, last + 1, last + 30)
        written = files(place)
        found.append(Interval(f"commits {turn}", synced, written, (last, last + 30)))
        last += 30
        with contextlib.closing(connect(place / "spool/spool.db")) as connection:
            # What Spool.checkpoint does, one wait after the other.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            moved = files(place)
            assert moved["spool.db-wal"] == written["spool.db-wal"]
            found.append(Interval(f"checkpoint {turn}", written, moved, (last, last)))
            connection.execute(f"PRAGMA user_version = {VERSION}")
        begun = files(place)
        assert begun["spool.db"] == moved["spool.db"]
        header = begun["spool.db-wal"][:WAL_HEADER_BYTES]
        headed = moved | {"spool.db-wal": header + moved["spool.db-wal"][WAL_HEADER_BYTES:]}
        found.append(Interval(f"new header {turn}", moved, headed, (last, last)))
        found.append(Interval(f"new WAL {turn}", headed, begun, (last, last)))
    buffer.close()
    return found


def cut(before: bytes, after: bytes, chance: random.Random) -> bytes:
    """Mix two states of a file sector by sector; what was added may be missing or zero."""
    size = chance.randint(len(before), len(after)) if len(after) > len(before) else len(after)
    share = chance.choice((0.02, 0.5, 0.98))  # of the sectors that were written
    mixed = bytearray()
    for at in range(0, size, SECTOR_BYTES):
        old = before[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
        new = after[at : at + SECTOR_BYTES]
        mixed += new if chance.random() < share else old[: len(new)]
    return bytes(mixed[:size])


@settings(
    max_examples=int(os.environ.get("CHAOS_POWER_CUTS", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(which=st.integers(0, 7), seed=st.integers(0, 2**32))
def test_a_power_cut_leaves_an_older_whole_spool_and_no_number_is_used_again(
    intervals, tmp_path, which, seed
):
    interval, chance = intervals[which], random.Random(seed)
    shutil.rmtree(tmp_path / "spool", ignore_errors=True)
    (tmp_path / "spool").mkdir()
    for name in NAMES:
        data = cut(interval.before[name], interval.after[name], chance)
        (tmp_path / "spool" / name).write_bytes(data)

    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    kept = buffer.page(after=0, limit=10_000)
    assert all(each.batch.payload == batch(each.batch.seq).payload for each in kept)
    seqs = {each.batch.seq for each in kept}
    least, most = interval.put
    (epoch,) = buffer.epochs()

    # An older state, and a whole one: nothing is missing before its last number.
    assert least <= epoch.last_seq <= most
    assert set(range(1, epoch.last_seq + 1)) - SETTLED <= seqs <= set(range(1, epoch.last_seq + 1))
    assert buffer.dropped == ()
    assert not list((tmp_path / "spool").glob("*corrupt*"))

    # The next process numbers in an epoch of its own, whatever is left of the one before.
    numbering = batches.Numbering(boot_id=BOOT)
    assert numbering.epoch != EPOCH
    tick = batches.Tick(time_unix_ns=1, monotonic_ns=10**12, samples={})
    buffer.put(numbering.number(pb.MetricBatch(), tick))
    numbers = [(each.batch.epoch, each.batch.seq) for each in buffer.page(after=0, limit=10_000)]
    assert numbers[-1] == (numbering.epoch, 1)
    assert len(numbers) == len(set(numbers)) == len(kept) + 1
    buffer.close()


def test_a_cut_between_commits_can_take_some_of_them_and_leave_some(intervals):
    """The simulation is one: it makes states that are neither the one nor the other."""
    interval = next(each for each in intervals if each.name == "commits 1")
    chance = random.Random(1)
    name = "spool.db-wal"
    made = {cut(interval.before[name], interval.after[name], chance) for _ in range(20)}

    assert len(made - {interval.before[name], interval.after[name]}) >= 15
