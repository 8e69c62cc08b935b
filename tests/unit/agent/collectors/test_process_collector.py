from __future__ import annotations

import os
import pwd
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, process, process_table
from agent.collectors.process_table import ProcessReading, TableReading
from agent.redaction import RedactionMode

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def write_process(
    host: FakeHost,
    pid: int,
    *,
    name: str = "worker",
    cpu_s: float = 0.0,
    started_s: float = 50.0,
    pages: int = 10,
    user_id: int = 0,
    cmdline: bytes = b"",
) -> None:
    user, system = int(cpu_s * TICKS), 0
    host.write_proc(
        f"{pid}/stat",
        f"{pid} ({name}) S 1 1 1 0 -1 4194560 0 0 0 0 {user} {system} 9 9 20 0 1 0 "
        f"{int(started_s * TICKS)} 1000000 {pages} 18446744073709551615 1 1 0\n",
    )
    host.write_proc(f"{pid}/status", f"Name:\t{name}\nUid:\t1000\t{user_id}\t1000\t1000\n")
    host.write_proc(f"{pid}/cmdline", cmdline)


def collector(host: FakeHost, **settings: object) -> process.ProcessCollector:
    host.write_proc("uptime", "100.00 200.00\n")
    host.write_proc("meminfo", f"MemTotal: {1000 * PAGE // 1024} kB\n")
    return process.ProcessCollector(
        CollectorSettings(**settings),  # type: ignore[arg-type] # a test's own keywords
        host.machine(),
    )


def test_the_first_reading_ranks_memory_only(host: FakeHost) -> None:
    write_process(host, 7, cpu_s=500.0, pages=100)
    write_process(host, 8, cpu_s=100.0, pages=200)

    samples = {sample.pid: sample for sample in collector(host).collect()}

    assert (samples[8].memory_rank, samples[7].memory_rank) == (1, 2)
    assert samples[8].memory_rss_bytes == 200 * PAGE
    assert samples[8].memory_percent == pytest.approx(20)
    assert not samples[7].HasField("cpu_percent")
    assert not samples[7].HasField("cpu_rank")


def test_cpu_is_that_of_the_interval_and_not_since_the_process_started(host: FakeHost) -> None:
    write_process(host, 7, cpu_s=5000.0)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_process(host, 7, cpu_s=5015.0)
    (sample,) = reader.collect()

    assert sample.cpu_percent == pytest.approx(150)
    assert sample.cpu_rank == 1


def test_the_union_of_both_tops_is_sampled_with_both_ranks(host: FakeHost) -> None:
    for pid in range(1, 7):
        write_process(host, pid, cpu_s=0.0, pages=pid)
    reader = collector(host, process_top_n=2)
    reader.collect()

    host.advance(10.0)
    for pid in range(1, 7):
        write_process(host, pid, cpu_s=float(6 - pid), pages=pid)
    samples = {sample.pid: sample for sample in reader.collect()}

    assert set(samples) == {1, 2, 5, 6}
    assert (samples[1].cpu_rank, samples[2].cpu_rank) == (1, 2)
    assert (samples[6].memory_rank, samples[5].memory_rank) == (1, 2)
    assert not samples[1].HasField("memory_rank")
    assert not samples[6].HasField("cpu_rank")


def test_a_new_process_of_an_old_number_is_not_charged_with_the_old_ones_time(
    host: FakeHost,
) -> None:
    write_process(host, 7, cpu_s=50.0, started_s=20.0)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_process(host, 7, cpu_s=51.0, started_s=60.0)  # before the last look, and not seen then
    (sample,) = reader.collect()

    assert not sample.HasField("cpu_percent")


def test_a_process_that_started_in_the_interval_is_charged_with_all_it_used(host: FakeHost) -> None:
    write_process(host, 7)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_process(host, 9, cpu_s=2.0, started_s=105.0)
    samples = {sample.pid: sample for sample in reader.collect()}

    assert samples[9].cpu_percent == pytest.approx(20)


def test_cpu_time_that_went_backwards_is_absent(host: FakeHost) -> None:
    write_process(host, 7, cpu_s=50.0)
    reader = collector(host)
    reader.collect()

    host.advance(10.0)
    write_process(host, 7, cpu_s=49.0)
    (sample,) = reader.collect()

    assert not sample.HasField("cpu_percent")
    assert sample.memory_rank == 1


def test_names_are_whole_and_may_hold_anything(host: FakeHost) -> None:
    write_process(host, 1, name="a) (b")
    write_process(host, 2, name="gunicorn-worker", cmdline=b"/usr/bin/gunicorn-worker-long\0-x\0")
    write_process(host, 3, name="a-rather-long-n", cmdline=b"python\0serve.py\0")

    names = {sample.pid: sample.name for sample in collector(host).collect()}

    assert names == {1: "a) (b", 2: "gunicorn-worker-long", 3: "a-rather-long-n"}


def test_the_user_is_the_effective_one_by_name_or_else_by_number(host: FakeHost) -> None:
    unknown = max(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid < 2**31) + 1
    write_process(host, 1, user_id=0)
    write_process(host, 2, user_id=unknown)

    users = {sample.pid: sample.username for sample in collector(host).collect()}

    assert users == {1: pwd.getpwuid(0).pw_name, 2: str(unknown)}


def test_arguments_stay_on_the_host_unless_asked_for(host: FakeHost) -> None:
    write_process(host, 1, cmdline=b"mysql\0--password=secret\0")

    (sample,) = collector(host).collect()
    assert not sample.HasField("cmdline")

    (sample,) = collector(host, redaction=RedactionMode.REDACTED).collect()
    assert sample.cmdline == "mysql --password=***"

    (sample,) = collector(host, redaction=RedactionMode.FULL).collect()
    assert sample.cmdline == "mysql --password=secret"


def test_patterns_of_the_operator_are_secrets_too(host: FakeHost) -> None:
    write_process(host, 1, cmdline=b"run\0acme-1234\0")

    (sample,) = collector(
        host, redaction=RedactionMode.REDACTED, redaction_patterns=("acme-[0-9]+",)
    ).collect()

    assert sample.cmdline == "run ***"


def test_a_long_command_line_is_cut_between_characters() -> None:
    joined = process_table.write_arguments([b"x", "é".encode() * 1000], " ".join)

    assert len(joined.encode()) <= process_table.ARGUMENTS_BYTES
    assert joined.startswith("x éé")
    assert joined.endswith("é")


def test_a_kernel_thread_has_no_command_line(host: FakeHost) -> None:
    write_process(host, 2, name="kthreadd", pages=1)

    (sample,) = collector(host, redaction=RedactionMode.FULL).collect()

    assert not sample.HasField("cmdline")


def test_processes_that_vanish_or_are_hidden_are_left_out(host: FakeHost) -> None:
    write_process(host, 7)
    (host.proc / "8").mkdir()  # gone between the listing and the look
    host.write_proc("9/stat", "")
    host.write_proc("10/stat", "10 (cut off) S 1")
    reader = collector(host)

    assert [sample.pid for sample in reader.collect()] == [7]


def test_a_process_that_vanishes_before_the_closer_look_keeps_its_numbers(host: FakeHost) -> None:
    write_process(host, 7, pages=100)
    (host.proc / "7" / "status").unlink()
    (host.proc / "7" / "cmdline").unlink()

    (sample,) = collector(host, redaction=RedactionMode.FULL).collect()

    assert sample.memory_rank == 1
    assert not sample.HasField("username")


def test_a_top_of_none_samples_nothing(host: FakeHost) -> None:
    write_process(host, 7)

    assert not collector(host, process_top_n=0).collect()


@given(raw=st.binary())
def test_any_bytes_can_be_parsed(raw: bytes) -> None:
    process_table.parse_stat(raw, ticks_per_s=100, page_bytes=4096)
    process_table.parse_effective_user(raw)
    process_table.write_arguments(raw.split(b"\0"), " ".join)


@given(
    before=st.dictionaries(st.integers(1, 5), st.floats(0, 1e9), max_size=5),
    after=st.dictionaries(st.integers(1, 5), st.floats(0, 1e9), max_size=5),
    started=st.floats(0, 1e6),
    seconds=st.floats(0, 1e3),
)
def test_cpu_is_never_negative_whatever_the_table_does(
    before: dict[int, float], after: dict[int, float], started: float, seconds: float
) -> None:
    def table(cpu: dict[int, float]) -> TableReading:
        return TableReading(
            processes=[
                ProcessReading(pid=pid, name="x", started_s=started, cpu_s=used, rss_bytes=1)
                for pid, used in cpu.items()
            ],
            now_s=500.0,
        )

    used = process.cpu_percents(table(before), table(after), seconds)

    assert all(value >= 0 for value in used.values())


def test_elsewhere_what_psutil_may_not_see_is_absent(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = SimpleNamespace(
        pid=1,
        info={
            "name": "init",
            "create_time": 5.0,
            "cpu_times": SimpleNamespace(user=1.0, system=2.0),
            "memory_info": SimpleNamespace(rss=4096),
        },
    )
    hidden = SimpleNamespace(
        pid=2, info={"name": None, "create_time": None, "cpu_times": None, "memory_info": None}
    )

    def refuse(pid: int) -> object:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "process_iter", lambda _attrs: [seen, hidden])  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(psutil, "Process", refuse)
    reader = process.ProcessCollector(
        CollectorSettings(redaction=RedactionMode.FULL), host.machine(linux=False)
    )

    (sample,) = reader.collect()

    assert (sample.pid, sample.name, sample.memory_rank) == (1, "init", 1)
    assert not sample.HasField("username")
    assert not sample.HasField("cmdline")


def test_elsewhere_psutil_itself_answers(host: FakeHost) -> None:
    reader = process.ProcessCollector(
        CollectorSettings(redaction=RedactionMode.FULL), host.machine(linux=False)
    )
    reader.collect()

    host.advance(10.0)

    assert any(sample.username and sample.cmdline for sample in reader.collect())
