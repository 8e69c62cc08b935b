from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors import CollectorSettings, sock_diag, tcp

if TYPE_CHECKING:
    from agent.collectors.testing import FakeHost

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINE = "   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0\n"
LINE6 = "12345: " + "0" * 32 + ":1F90 " + "0" * 32 + ":0000 {state} 00000000:00000000 00:0\n"


def collector(host: FakeHost, *, linux: bool = True) -> tcp.TcpCollector:
    return tcp.TcpCollector(CollectorSettings(), host.machine(linux=linux))


def message(state: int, *, kind: int = sock_diag.SOCK_DIAG_BY_FAMILY) -> bytes:
    body = struct.pack("=BB70x", socket.AF_INET, state)
    return sock_diag.HEADER.pack(sock_diag.HEADER.size + len(body), kind, 2, 0, 0) + body


def test_sockets_of_both_ip_versions_are_counted_by_state(host: FakeHost) -> None:
    host.write_proc("net/tcp", HEAD + "".join(LINE.format(state=s) for s in ("0A", "01", "06")))
    host.write_proc("net/tcp6", HEAD + "".join(LINE6.format(state=s) for s in ("0A", "08")))

    (sample,) = collector(host).collect()

    assert sample.total == 5
    assert sample.listen == 2
    assert (sample.established, sample.time_wait, sample.close_wait) == (1, 1, 1)
    assert sample.HasField("syn_sent")
    assert sample.syn_sent == 0


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("01", "established"),
        ("02", "syn_sent"),
        ("03", "syn_recv"),
        ("04", "fin_wait1"),
        ("05", "fin_wait2"),
        ("06", "time_wait"),
        ("07", "close"),
        ("08", "close_wait"),
        ("09", "last_ack"),
        ("0A", "listen"),
        ("0B", "closing"),
        ("0C", "syn_recv"),
    ],
)
def test_each_state_goes_to_its_column(host: FakeHost, number: str, name: str) -> None:
    host.write_proc("net/tcp", HEAD + LINE.format(state=number))

    (sample,) = collector(host).collect()

    assert getattr(sample, name) == 1
    assert sample.total == 1


def test_a_host_without_ipv6_is_counted(host: FakeHost) -> None:
    host.write_proc("net/tcp", HEAD)

    (sample,) = collector(host).collect()

    assert sample.total == 0


def test_a_kernel_that_shows_nothing_gives_no_sample(host: FakeHost) -> None:
    assert not collector(host).collect()


@given(raw=st.binary())
def test_any_bytes_can_be_parsed(raw: bytes) -> None:
    tcp.by_name(tcp.parse(raw))


def test_netlink_messages_are_counted_until_the_dump_is_done() -> None:
    counts: Counter[int] = Counter()

    assert sock_diag.count_messages(message(1) + message(10) + message(1), counts)
    assert not sock_diag.count_messages(message(6) + message(0, kind=sock_diag.NLMSG_DONE), counts)
    assert counts == {1: 2, 10: 1, 6: 1}


def test_a_refused_dump_raises_the_kernels_error() -> None:
    refusal = sock_diag.HEADER.pack(20, sock_diag.NLMSG_ERROR, 0, 0, 0) + struct.pack(
        "=i", -errno.ENOENT
    )

    with pytest.raises(OSError, match="refused") as caught:
        sock_diag.count_messages(refusal, Counter())

    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "raw", [b"", b"short", bytes(40), sock_diag.HEADER.pack(100, sock_diag.NLMSG_ERROR, 0, 0, 0)]
)
def test_what_is_no_netlink_ends_the_dump_or_raises(raw: bytes) -> None:
    try:
        goes_on = sock_diag.count_messages(raw, Counter())
    except OSError:
        goes_on = False

    assert not goes_on


def test_elsewhere_psutils_states_go_to_their_columns(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [psutil.CONN_LISTEN, psutil.CONN_SYN_RECV, psutil.CONN_FIN_WAIT1, psutil.CONN_NONE]
    connections = [SimpleNamespace(status=state) for state in states]
    monkeypatch.setattr(psutil, "net_connections", lambda kind: connections)  # pyright: ignore[reportUnknownLambdaType]

    (sample,) = collector(host, linux=False).collect()

    assert (sample.listen, sample.syn_recv, sample.fin_wait1) == (1, 1, 1)
    assert sample.total == 3


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), NotImplementedError()])
def test_elsewhere_a_system_that_asks_for_more_rights_gives_no_sample(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(kind: str) -> object:
        raise error

    monkeypatch.setattr(psutil, "net_connections", refuse)

    assert not collector(host, linux=False).collect()


def test_elsewhere_a_psutil_without_connections_gives_no_sample(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil, "net_connections")

    assert not collector(host, linux=False).collect()
