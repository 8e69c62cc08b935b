"""Whatever happens to the spool's file, the agent starts, and says what it can't find any more."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.batches import NumberedBatch
from agent.buffer import BufferBounds
from agent.quarantine import KEPT_FILES, holes
from agent.spool_buffer import FILE, SpoolBuffer
from hostpulse.clock import NS_PER_S
from hostpulse.v1 import telemetry_pb2 as pb

BOOT = b"b" * 16
BATCHES = 60
SETTLED = {1, 2, 3, 20, 21}
ROOT = Path(__file__).parents[3]
NAMES = ("spool.db", "spool.db-wal")

# Puts batches until it is killed, and says which of them are in the spool.
WRITER = """
import sys
from pathlib import Path
from agent.batches import NumberedBatch
from agent.spool_buffer import SpoolBuffer
buffer = SpoolBuffer(Path(sys.argv[1]), boot_id=b"b" * 16)
seq = 0
while True:
    seq += 1
    buffer.put(NumberedBatch(epoch=9, seq=seq, time_unix_ns=seq, monotonic_ns=seq, samples=1,
                             payload=seq.to_bytes(2000, "big")))
    if seq % 3 == 0:
        buffer.settle(9, seq - 1)
    print(seq, flush=True)
"""


def payload(epoch, seq):
    return random.Random(f"{epoch} {seq}").randbytes(700)


def batch(epoch, seq):
    return NumberedBatch(
        epoch=epoch,
        seq=seq,
        time_unix_ns=seq * NS_PER_S,
        monotonic_ns=seq * NS_PER_S,
        samples=2,
        payload=payload(epoch, seq),
    )


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """The files of a spool as a killed agent leaves them: half in the file, half in the WAL."""
    place, copy = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("crashed")
    buffer = SpoolBuffer(place, boot_id=BOOT)
    for seq in range(1, BATCHES + 1):
        buffer.put(batch(5, seq))
        if seq in SETTLED:
            buffer.settle(5, seq)
        if seq == BATCHES // 2:
            buffer._access.spool.checkpoint()
    for name in NAMES:
        shutil.copy(place / "spool" / name, copy / name)
    buffer.close()
    return copy


def restored(crashed, place):
    """A data directory with a copy of those files."""
    shutil.rmtree(place / "spool", ignore_errors=True)
    (place / "spool").mkdir()
    for name in NAMES:
        shutil.copy(crashed / name, place / "spool" / name)
    return place


def kept(buffer):
    found = buffer.page(after=0, limit=10_000)
    for each in found:
        assert each.batch.payload == payload(each.batch.epoch, each.batch.seq)
    return {(each.batch.epoch, each.batch.seq) for each in found}


def dropped(buffer):
    return {
        (each.epoch, seq)
        for each in buffer.dropped
        for seq in range(each.first_seq, each.last_seq + 1)
    }


def test_a_killed_agent_loses_nothing_that_it_put(crashed, tmp_path):
    buffer = SpoolBuffer(restored(crashed, tmp_path), boot_id=BOOT)

    assert kept(buffer) == {(5, seq) for seq in range(1, BATCHES + 1) if seq not in SETTLED}
    assert dropped(buffer) == set()
    buffer.close()


def test_sigkill_at_any_moment_loses_nothing_that_was_put(tmp_path):
    for attempt in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / str(attempt))],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        lines = [writer.stdout.readline() for _ in range(10 + 97 * attempt)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        said = int(lines[-1])
        writer.wait()
        writer.stdout.close()

        buffer = SpoolBuffer(tmp_path / str(attempt), boot_id=BOOT)
        found = {each.batch.seq for each in buffer.page(after=0, limit=10_000)}
        # What was settled may be offered again; what was put may have no line yet.
        assert found >= {seq for seq in range(1, said + 1) if seq % 3 != 2}
        assert found <= set(range(1, said + 2))
        assert buffer.dropped == ()
        buffer.close()


def check_consistent(buffer, *, is_torn):
    found, lost = kept(buffer), dropped(buffer)
    assert not found & lost
    for epoch in {epoch for epoch, _ in found | lost}:
        numbers = {seq for each, seq in found | lost if each == epoch}
        if is_torn and epoch == 5:
            # Without holes up to the last number that is known, but for what was settled before.
            assert set(range(1, max(numbers) + 1)) - numbers <= SETTLED


FLIPS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=int(os.environ.get("CHAOS_FLIPS", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(flips=FLIPS)
def test_bits_that_flipped_lose_no_more_than_they_hit_and_never_stop_the_agent(
    crashed, tmp_path, flips
):
    place = restored(crashed, tmp_path)
    for name, share, bit in flips:
        file = place / "spool" / name
        data = bytearray(file.read_bytes())
        data[int(share * len(data))] ^= 1 << bit
        file.write_bytes(data)

    buffer = SpoolBuffer(place, boot_id=BOOT)
    check_consistent(buffer, is_torn=True)
    buffer.put(batch(6, 1))
    assert (6, 1) in kept(buffer)
    before = kept(buffer), dropped(buffer)
    buffer.close()

    again = SpoolBuffer(place, boot_id=BOOT)
    assert (kept(again), dropped(again)) == before
    assert again.stats().unspooled == 0
    again.close()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(NAMES), share=st.floats(0, 1))
def test_a_torn_file_never_stops_the_agent(crashed, tmp_path, name, share):
    place = restored(crashed, tmp_path)
    file = place / "spool" / name
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    buffer = SpoolBuffer(place, boot_id=BOOT)
    check_consistent(buffer, is_torn=True)
    buffer.put(batch(6, 1))
    assert (6, 1) in kept(buffer)
    buffer.close()


def test_a_broken_batch_in_the_middle_is_reported_and_its_neighbours_are_kept(
    crashed, tmp_path, caplog
):
    place = restored(crashed, tmp_path)
    file = place / "spool/spool.db"
    data = file.read_bytes()
    at = data.index(payload(5, 10)[:200])
    file.write_bytes(data[:at] + b"\0" + data[at + 1 :])

    buffer = SpoolBuffer(place, boot_id=BOOT)

    assert kept(buffer) == {(5, s) for s in range(1, BATCHES + 1) if s not in {*SETTLED, 10}}
    # What was settled is named as well: a gateway takes off what it has committed.
    assert dropped(buffer) == {(5, seq) for seq in {*SETTLED, 10}}
    assert {each.reason for each in buffer.dropped} == {pb.DROP_REASON_SPOOL_CORRUPT}
    assert [each.getMessage() for each in caplog.records] == ["spool_set_aside"]
    assert len(list((place / "spool").glob("spool.db.corrupt-*"))) >= 1
    buffer.close()


def test_damage_at_many_places_loses_what_lies_there_and_no_more(tmp_path):
    count, holes_count, page_bytes = 2_000, 12, 1024
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    buffer._places.last = 10_000_000  # an agent that has run for years
    for seq in range(1, count + 1):
        one = batch(5, seq)
        buffer.put(replace(one, payload=one.payload * 3))
    buffer.close()
    file = tmp_path / FILE
    data = bytearray(file.read_bytes())
    for number in range(1, holes_count + 1):
        at = number * len(data) // (holes_count + 1) // page_bytes * page_bytes
        data[at : at + page_bytes] = bytes(page_bytes)
    for seq in (1, count):  # and at both ends
        at = data.index(payload(5, seq)[:200]) // page_bytes * page_bytes
        data[at : at + page_bytes] = bytes(page_bytes)
    file.write_bytes(data)

    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    found = {each.batch.seq for each in buffer.page(after=0, limit=count)}
    assert count - 20 * holes_count < len(found) < count
    assert dropped(buffer) == {(5, seq) for seq in set(range(1, count + 1)) - found}
    buffer.close()


def test_a_file_that_breaks_while_the_agent_runs_is_replaced_at_once(tmp_path, caplog):
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT)
    for seq in range(1, 31):
        buffer.put(batch(5, seq))
    buffer._access.spool._sql.execute("UPDATE batch SET samples = 99 WHERE seq = 7")

    seen = kept(buffer)
    buffer.put(batch(5, 31))

    assert seen == {(5, seq) for seq in range(1, 31) if seq != 7}
    assert dropped(buffer) == {(5, 7)}
    assert "spool_set_aside" in caplog.messages
    assert buffer.stats().batches == 30
    buffer.close()


def test_only_the_newest_broken_files_are_kept(tmp_path):
    for _ in range(KEPT_FILES + 2):
        (tmp_path / "spool").mkdir(exist_ok=True)
        (tmp_path / FILE).write_bytes(b"this is not a database" * 100)
        SpoolBuffer(tmp_path, boot_id=BOOT).close()

    assert len(list((tmp_path / "spool").glob("*corrupt-*"))) == KEPT_FILES


def test_a_spool_of_another_version_is_set_aside(tmp_path):
    buffer = SpoolBuffer(tmp_path, boot_id=BOOT, bounds=BufferBounds())
    buffer._access.spool._sql.execute("PRAGMA user_version = 99")
    buffer.close()

    again = SpoolBuffer(tmp_path, boot_id=BOOT)
    assert again.stats().batches == 0
    again.close()


@pytest.mark.parametrize(
    ("present", "last", "expected"),
    [
        pytest.param([], 3, [(1, 3)], id="nothing"),
        pytest.param([1, 2, 3], 3, [], id="everything"),
        pytest.param([2, 5], 7, [(1, 1), (3, 4), (6, 7)], id="both ends and the middle"),
        pytest.param([9], 3, [(1, 3)], id="beyond the last"),
    ],
)
def test_holes_are_what_is_not_there(present, last, expected):
    assert list(holes(present, last)) == expected
