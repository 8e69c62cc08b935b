from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api import streams
from collector_gateway.principals import Unauthenticated
from hostpulse import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


async def fine() -> None:
    pass


class Looks:
    """Answers what it is given, one after the other, then nothing."""

    def __init__(self, *answers: Mapping[str, object] | Exception) -> None:
        self.answers = list(answers)

    async def __call__(self) -> Mapping[str, object]:
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow(look: Looks, recheck=fine, stopping: asyncio.Event | None = None):
    return streams.follow(look, recheck, stopping or asyncio.Event(), name="news", tick_s=0)


async def test_each_change_is_one_event() -> None:
    events = follow(Looks({"a": 1}, {"b": 2}))

    assert await anext(events) == b"retry: 3000\n\n"
    assert await anext(events) == b'event: news\ndata: {"a":1}\n\n'
    assert await anext(events) == b'event: news\ndata: {"b":2}\n\n'
    await events.aclose()


async def test_silence_is_broken_by_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0)
    events = follow(Looks())
    await anext(events)

    assert await anext(events) == b": still here\n\n"
    await events.aclose()


async def test_stream_survives_a_database_that_is_away() -> None:
    events = follow(Looks(OSError("gone"), errors.Retryable("later"), {"a": 1}))
    await anext(events)

    assert await anext(events) == b'event: news\ndata: {"a":1}\n\n'
    await events.aclose()


async def test_stream_ends_when_the_session_does() -> None:
    async def ended() -> None:
        raise Unauthenticated("revoked")

    assert [event async for event in follow(Looks({"a": 1}), recheck=ended)] == [b"retry: 3000\n\n"]


async def test_stream_ends_when_the_process_stops() -> None:
    stopping = asyncio.Event()
    events = follow(Looks({"a": 1}), stopping=stopping)
    await anext(events)
    await anext(events)

    stopping.set()

    assert [event async for event in events] == []


async def test_reader_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 0.01)
    closed = asyncio.Event()
    never = asyncio.Event()

    async def content():
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.set()

    async def send(message) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    async with asyncio.timeout(5):
        await streams.EventStream(content())(scope, never.wait, send)
