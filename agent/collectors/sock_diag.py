"""Socket states from the kernel by netlink (sock_diag(7)): bytes instead of a page of text.

With 27 000 sockets a dump took a third of the time that /proc/net/tcp took, and most of that is the
kernel's walk through its tables.
"""

from __future__ import annotations

import socket
import struct
import sys as system
from collections import Counter

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR = 2
NLMSG_DONE = 3

# The states 1 to 12 (include/net/tcp_states.h): not 13, which is bound but neither listening nor
# connected, and which /proc/net/tcp does not show either.
STATES_MASK = 0x1FFE

HEADER = struct.Struct("=LHHLL")  # nlmsghdr: length, type, flags, seq, pid
REQUEST = struct.Struct("=BBBxL48x")  # inet_diag_req_v2: family, protocol, ext, states, socket id
STATE_OFFSET = HEADER.size + 1  # inet_diag_msg: family, state, …

RECEIVE_BYTES = 64 * 1024  # the kernel fills 32 KiB at most
TIMEOUT_S = 2.0


def count_states() -> Counter[int]:
    """Count the TCP sockets of both IP versions by state number.

    Raises OSError where the kernel has no tcp_diag or a sandbox forbids netlink.
    """
    counts: Counter[int] = Counter()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
    ) as netlink:
        netlink.settimeout(TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            netlink.send(
                HEADER.pack(
                    HEADER.size + REQUEST.size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 0, 0
                )
                + REQUEST.pack(family, socket.IPPROTO_TCP, 0, STATES_MASK)
            )
            while count_messages(netlink.recv(RECEIVE_BYTES), counts):
                pass
    return counts


def count_messages(raw: bytes, counts: Counter[int]) -> bool:
    """Count the sockets in one datagram; False when it was the last one of the dump.

    Raises OSError with the kernel's error, or for a datagram that is no netlink.
    """
    offset = 0
    while offset + HEADER.size <= len(raw):
        length, kind, _flags, _seq, _pid = HEADER.unpack_from(raw, offset)
        if kind == NLMSG_DONE:
            return False
        if length <= STATE_OFFSET or offset + length > len(raw):
            raise OSError(f"sock_diag sent a message of {length} bytes")
        if kind == NLMSG_ERROR:
            code = int.from_bytes(raw[offset + HEADER.size :][:4], system.byteorder, signed=True)
            raise OSError(-code, "sock_diag refused the dump")
        counts[raw[offset + STATE_OFFSET]] += 1
        offset += (length + 3) & ~3
    return offset > 0
