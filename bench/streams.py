"""gRPC streams at the cost of their frames, for a load that must not outweigh what it measures.

A full client takes more of a core than the gateway does. This one speaks the little of HTTP/2 that
a stream of small messages needs (RFC 9113, and gRPC over HTTP/2 as its protocol document has it):
headers are literals, our windows are opened wide once, the server's are respected.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
CANCEL = 8
ENABLE_PUSH, INITIAL_WINDOW_SIZE = 2, 4
WINDOW_MAX = (1 << 31) - 1
WINDOW_FIRST = (1 << 16) - 1
FRAME_HEAD_BYTES = 9


class Failed(RuntimeError):
    """The server ended a stream or the connection."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def _text(value: str) -> bytes:
    """Return a string literal of HPACK."""
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    assert len(data) < 127 + 128
    return bytes([127, len(data) - 127]) + data


class Connection(asyncio.Protocol):
    """One connection with its streams.

    Args:
        take: is given each message with the number of its stream.
        ended: is told which stream the server has ended; None: the end of any is a failure.
    """

    def __init__(
        self, take: Callable[[int, bytes], None], ended: Callable[[int], None] | None = None
    ) -> None:
        self._take = take
        self._ended = ended
        self._received = b""
        self._partial: dict[int, bytes] = {}
        self._windows: dict[int, int] = {0: WINDOW_FIRST}
        self._window_first = WINDOW_FIRST
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._next_stream = 1
        self.failure: Failed | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack(">HIHI", ENABLE_PUSH, 0, INITIAL_WINDOW_SIZE, WINDOW_MAX)
        wide = struct.pack(">I", WINDOW_MAX - WINDOW_FIRST)
        transport.write(
            PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, wide)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.failure = self.failure or Failed(f"the connection was closed: {exc}")

    def open(self, path: str, **metadata: str) -> int:
        """Open a stream; return its number."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
        headers |= {"te": "trailers", "content-type": "application/grpc", **metadata}
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        self._windows[stream] = self._window_first
        self._transport.write(_frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def send(self, stream: int, message: bytes) -> None:
        """Send a message, or keep it until the server's windows let it go."""
        data = struct.pack(">BI", 0, len(message)) + message
        if self._waiting or not self._has_room(stream, len(data)):
            self._waiting.append((stream, data))
        else:
            self._write(stream, data)

    @property
    def is_held_back(self) -> bool:
        """Whether messages wait for the server's windows."""
        return bool(self._waiting)

    def reset(self, stream: int) -> None:
        """Drop a stream without a word."""
        self._forget(stream)
        self._transport.write(_frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def close(self) -> None:
        """End the connection and all its streams."""
        self.failure = Failed("closed")
        self._transport.close()

    def _has_room(self, stream: int, size: int) -> bool:
        return min(self._windows[0], self._windows[stream]) >= size

    def _write(self, stream: int, data: bytes) -> None:
        self._windows[0] -= len(data)
        self._windows[stream] -= len(data)
        self._transport.write(_frame(DATA, 0, stream, data))

    def data_received(self, data: bytes) -> None:
        received, at = self._received + data, 0
        while len(received) - at >= FRAME_HEAD_BYTES:
            head, flags, stream = struct.unpack_from(">IBI", received, at)
            end = at + FRAME_HEAD_BYTES + (head >> 8)
            if len(received) < end:
                break
            self._take_frame(head & 0xFF, flags, stream, received[at + FRAME_HEAD_BYTES : end])
            at = end
        self._received = received[at:]

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._take_data(stream, payload)
        elif kind == WINDOW_UPDATE:
            if stream in self._windows:
                self._windows[stream] += int.from_bytes(payload, "big")
                self._send_waiting()
        elif kind == SETTINGS and not flags & ACK:
            self._take_settings(payload)
        elif kind == PING and not flags & ACK:
            self._transport.write(_frame(PING, ACK, 0, payload))
        elif kind in (RST_STREAM, HEADERS) and self._ended:
            if (kind == RST_STREAM or flags & END_STREAM) and stream in self._windows:
                self._forget(stream)
                self._ended(stream)
        elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
            self.failure = self.failure or Failed(f"frame {kind} on stream {stream}: {payload!r}")

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW_SIZE:
                for stream in self._windows.keys() - {0}:
                    self._windows[stream] += value - self._window_first
                self._window_first = value
        self._transport.write(_frame(SETTINGS, ACK, 0, b""))
        self._send_waiting()

    def _take_data(self, stream: int, payload: bytes) -> None:
        data = self._partial.pop(stream, b"") + payload
        while len(data) >= 5 and len(data) >= (size := 5 + int.from_bytes(data[1:5], "big")):
            self._take(stream, data[5:size])
            data = data[size:]
        if data:
            self._partial[stream] = data

    def _forget(self, stream: int) -> None:
        del self._windows[stream]
        self._partial.pop(stream, None)
        self._waiting = deque(each for each in self._waiting if each[0] != stream)

    def _send_waiting(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0], len(self._waiting[0][1])):
            self._write(*self._waiting.popleft())
