"""The bytes of a StreamRequest that carries a stored batch.

A batch is stored serialized. To send it, two fields are added that are not part of what is stored,
by appending their bytes: a protobuf message is a series of fields in any order
(https://protobuf.dev/programming-guides/encoding/#order), so nothing is parsed or copied twice.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostpulse.v1 import telemetry_pb2

REQUEST_BATCH_TAG = b"\x12"  # StreamRequest.batch = 2, length-delimited
BATCH_LANE_TAG = b"\x18"  # MetricBatch.lane = 3, varint
BATCH_SENT_TAG = b"\x21"  # MetricBatch.sent_monotonic_ns = 4, fixed64


def batch_request(
    payload: bytes, *, lane: telemetry_pb2.Lane | int, sent_monotonic_ns: int
) -> bytes:
    """Return a serialized StreamRequest with the batch, its lane and the time of sending."""
    sent = BATCH_SENT_TAG + struct.pack("<Q", sent_monotonic_ns)
    body = b"".join((payload, BATCH_LANE_TAG, _varint(int(lane)), sent))
    return b"".join((REQUEST_BATCH_TAG, _varint(len(body)), body))


def _varint(value: int) -> bytes:
    """Encode an unsigned number in groups of seven bits, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
