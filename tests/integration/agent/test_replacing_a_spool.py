"""While a broken spool is replaced, whatever happens, what can be read of it is not lost."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agent import spool_file
from agent.batches import NumberedBatch
from agent.dropped import FORGOTTEN_BEYOND, MAX_DROPPED_RANGES
from agent.quarantine import NEW
from agent.spool_buffer import FILE, SpoolBuffer
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

BOOT = b"b" * 16
BATCHES, BROKEN = 120, 50
ROOT = Path(__file__).parents[3]

# Opens the spool, and dies at the n-th step that changes a file's name or content.
DIES = """
import os, sys
from pathlib import Path
from agent.spool import Spool
from agent.spool_buffer import SpoolBuffer
left = int(sys.argv[2])
def deadly(act):
    def step(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return act(*arguments, **options)
    return step
Path.rename, Path.unlink = deadly(Path.rename), deadly(Path.unlink)
Spool.checkpoint, Spool.keep_dropped = deadly(Spool.checkpoint), deadly(Spool.keep_dropped)
Spool.keep_epoch, Spool.totals = deadly(Spool.keep_epoch), deadly(Spool.totals)
SpoolBuffer(Path(sys.argv[1]), boot_id=b"b" * 16).close()
"""


def batch(seq):
    return NumberedBatch(
        epoch=5,
        seq=seq,
        time_unix_ns=seq * NS_PER_S,
        monotonic_ns=seq * NS_PER_S,
        samples=2,
        payload=random.Random(seq).randbytes(700),
    )


@pytest.fixture
def broken(tmp_path):
    """A data directory whose spool has one batch that is not as it was written."""
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    for seq in range(1, BATCHES + 1):
        buffer.put(batch(seq))
    buffer.close()
    file = tmp_path / FILE
    data = file.read_bytes()
    at = data.index(batch(BROKEN).payload[:200])
    file.write_bytes(data[:at] + b"\0" + data[at + 1 :])
    return tmp_path


def seqs(buffer):
    return {each.batch.seq for each in buffer.page(after=0, limit=10_000)}


def dropped(buffer):
    return {seq for each in buffer.dropped for seq in range(each.first_seq, each.last_seq + 1)}


READABLE = set(range(1, BATCHES + 1)) - {BROKEN}


def test_an_agent_that_dies_at_any_step_begins_again_or_has_done_it(broken):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for step in range(40):
        command = [sys.executable, "-c", DIES, str(broken), str(step)]
        if subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode == 0:
            break
        # Not opened here: that would mend what the next process has to.
    else:
        raise AssertionError("it never came to an end")
    assert step >= 6

    buffer = SpoolBuffer(broken, boot_id=BOOT)
    assert (seqs(buffer), dropped(buffer)) == (READABLE, {BROKEN})
    assert {each.reason for each in buffer.dropped} == {pb.DROP_REASON_SPOOL_CORRUPT}
    buffer.close()


@pytest.mark.parametrize("step", range(12))
def test_the_next_process_finds_everything_whenever_the_one_before_died(broken, step):
    command = [sys.executable, "-c", DIES, str(broken), str(step)]
    subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        check=False,
    )

    buffer = SpoolBuffer(broken, boot_id=BOOT)
    assert (seqs(buffer), dropped(buffer)) == (READABLE, {BROKEN})
    assert not list((broken / "spool").glob(f"*{NEW}*"))
    buffer.close()


@contextlib.contextmanager
def files_no_bigger_than(max_bytes):
    """Have the kernel refuse what would make a file bigger, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_meanwhile_leaves_the_broken_file_until_there_is_room(broken):
    with files_no_bigger_than(40_000):
        buffer = SpoolBuffer(broken, boot_id=BOOT)
        buffer.put(batch(BATCHES + 1))

        assert (seqs(buffer), dropped(buffer)) == ({BATCHES + 1}, set())
        assert buffer.stats().unspooled == 1
    buffer.close()  # tries once more, and now there is room

    again = SpoolBuffer(broken, boot_id=BOOT)
    assert (seqs(again), dropped(again)) == (READABLE | {BATCHES + 1}, {BROKEN})
    again.close()


def test_what_is_kept_in_memory_is_not_reported_as_lost(broken):
    file = broken / FILE
    with files_no_bigger_than(file.stat().st_size // 2):
        buffer = SpoolBuffer(broken, boot_id=BOOT)
        buffer.put(batch(BROKEN))  # here it is, after all
    buffer.close()

    again = SpoolBuffer(broken, boot_id=BOOT)
    assert (seqs(again), dropped(again)) == (READABLE | {BROKEN}, set())
    again.close()


def test_a_broken_file_is_not_replaced_before_a_checkpoint_of_it_has_ended(tmp_path, monkeypatch):
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    for seq in range(1, 11):
        buffer.put(batch(seq))
    spool, begun = buffer._access.spool, threading.Event()

    def slow_connect(path, **options):
        connection = spool_file.connect(path, **options)
        connection.execute("SELECT count(*) FROM batch").fetchone()  # now it has the file open
        begun.set()
        time.sleep(0.5)  # a slow disk
        return connection

    monkeypatch.setattr("agent.spool.connect", slow_connect)
    thread = threading.Thread(target=buffer._access.checkpoint, args=(spool,))
    thread.start()
    assert begun.wait(5)
    monkeypatch.setattr("agent.spool.connect", spool_file.connect)
    spool._sql.execute("UPDATE batch SET samples = 99 WHERE seq = 7")
    assert seqs(buffer) == set(range(1, 11)) - {7}  # replaced
    thread.join(0.1)
    assert not thread.is_alive()
    for seq in range(11, 21):
        buffer.put(batch(seq))

    copy = tmp_path / "as the kill leaves it"
    shutil.copytree(tmp_path / "spool", copy / "spool")
    buffer.close()
    again = SpoolBuffer(copy, boot_id=BOOT)
    assert seqs(again) == set(range(1, 21)) - {7}
    again.close()


def test_a_checkpoint_makes_no_file(tmp_path):
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    for companion in ("", "-wal", "-shm"):
        (tmp_path / (FILE + companion)).unlink()

    with pytest.raises(spool_file.SpoolUnusableError):
        buffer._access.checkpoint(buffer._access.spool)
    assert not (tmp_path / FILE).exists()
    buffer.close()


def test_what_is_kept_between_hundreds_of_holes_is_not_reported_as_lost(tmp_path):
    count = 2 * 3 * MAX_DROPPED_RANGES
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    for seq in range(1, count + 1):
        buffer.put(batch(seq))
    buffer._access.spool._sql.execute("UPDATE batch SET samples = 99 WHERE seq % 3 = 0")
    buffer.close()

    again = SpoolBuffer(tmp_path, boot_id=BOOT)
    assert seqs(again) == {seq for seq in range(1, count + 1) if seq % 3}
    assert not seqs(again) & dropped(again)
    assert len(again.dropped) == FORGOTTEN_BEYOND
    again.close()
