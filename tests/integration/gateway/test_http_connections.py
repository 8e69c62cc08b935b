"""What one address may hold open over HTTP, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest

from collector_gateway import http_server, proxies
from collector_gateway.http_server import HttpServer

GREETING = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BIG = 64 * 1024 * 1024


async def app(scope, receive, send):
    """Answer `/` with a word, anything else with more than any buffer holds."""
    size = 2 if scope["path"] == "/" else BIG
    headers = [(b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(max(1, size // 65536)):
        chunk = b"x" * min(size, 65536)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def serving(app, **options):
    server = HttpServer("127.0.0.1:0", context=None, **options)
    stop = asyncio.Event()
    serving = asyncio.create_task(server.serve(app, stop))
    async with asyncio.timeout(10):
        while server._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 0:
            await asyncio.sleep(0.001)
    yield server.port
    stop.set()
    await serving


@pytest.fixture
async def port(monkeypatch):
    monkeypatch.setattr(http_server, "HEADER_WITHIN_S", 0.5)
    monkeypatch.setattr(http_server, "READ_WITHIN_S", 0.5)
    async with serving(app) as port:
        yield port


@contextlib.asynccontextmanager
async def connection(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answer(reader):
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        return head.split(b"\r\n")[0], await reader.readexactly(2)


async def ended(reader):
    """Read to the end, however it comes."""
    with contextlib.suppress(ConnectionResetError, asyncio.IncompleteReadError):
        async with asyncio.timeout(10):
            return await reader.read(100)
    return b""


async def test_a_header_that_never_ends_is_not_waited_for(port):
    async with connection(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await ended(reader) == b""


async def test_a_connection_without_a_word_ends(port):
    async with connection(port) as (reader, _):
        assert await ended(reader) == b""


async def test_the_header_of_a_later_request_has_a_bound_too(port):
    async with connection(port) as (reader, writer):
        for _ in range(2):
            writer.write(GREETING)
            assert await answer(reader) == (b"HTTP/1.1 200 OK", b"xx")
        writer.write(b"GET / HT")
        assert await ended(reader) == b""


async def test_a_reader_who_stops_is_not_waited_for(port):
    async with connection(port) as (reader, writer):
        writer.write(GREETING.replace(b"/ ", b"/big ", 1))
        await reader.readuntil(b"\r\n\r\n")
        read = 0
        with contextlib.suppress(ConnectionResetError):
            await asyncio.sleep(2)  # what is looked at: nobody reads for longer than the bound
            async with asyncio.timeout(10):
                while chunk := await reader.read(65536):
                    read += len(chunk)
        assert read < BIG


async def test_a_proxy_of_ours_holds_as_many_as_it_likes(monkeypatch):
    monkeypatch.setattr(http_server, "ADDRESS_MAX_CONNECTIONS", 3)
    async with (
        serving(app, proxies=proxies.parse("127.0.0.1")) as port,
        contextlib.AsyncExitStack() as held,
    ):
        for _ in range(10):
            reader, writer = await held.enter_async_context(connection(port))
            writer.write(GREETING)
            assert await answer(reader) == (b"HTTP/1.1 200 OK", b"xx")


async def whose(scope, receive, send):
    """Answer from which address a request is, and how it came."""
    text = f"{scope['client'][0]} {scope['scheme']}".encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        (None, "10.0.0.9", "127.0.0.1 http"),
        ("192.168.0.1", "10.0.0.9", "127.0.0.1 http"),
        ("127.0.0.1", "10.0.0.9", "10.0.0.9 https"),
        ("127.0.0.0/8, ::1", "1.2.3.4, 10.0.0.9:1234", "10.0.0.9 https"),
        ("127.0.0.1", "1.2.3.4, 10.0.0.9, 127.0.0.1", "10.0.0.9 https"),
    ],
)
async def test_only_a_proxy_of_ours_is_believed_for_whom_it_asks(
    trusted, forwarded, client, monkeypatch
):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own; it has no say
    trusting = {"proxies": proxies.parse(trusted)} if trusted else {}
    async with serving(whose, **trusting) as port, httpx.AsyncClient() as browser:
        answer = await browser.get(
            f"http://127.0.0.1:{port}/",
            headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"},
        )

    assert answer.text == client


async def test_one_address_holds_no_more_than_its_share(port, monkeypatch):
    monkeypatch.setattr(http_server, "ADDRESS_MAX_CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "HEADER_WITHIN_S", 60)
    async with contextlib.AsyncExitStack() as held:
        for _ in range(3):
            reader, writer = await held.enter_async_context(connection(port))
            writer.write(GREETING)
            assert await answer(reader) == (b"HTTP/1.1 200 OK", b"xx")
        reader, _ = await held.enter_async_context(connection(port))
        assert await ended(reader) == b""

    async with connection(port) as (reader, writer):
        writer.write(GREETING)
        assert await answer(reader) == (b"HTTP/1.1 200 OK", b"xx")


async def test_the_body_of_an_answer_does_not_wait_for_the_header_to_be_confirmed(port):
    """On a connection that goes on, where the other end confirms after 40 ms at the earliest."""
    took_s = []
    async with connection(port) as (reader, writer):
        for _ in range(20):
            begun = asyncio.get_running_loop().time()
            writer.write(GREETING)
            await answer(reader)
            took_s.append(asyncio.get_running_loop().time() - begun)

    assert sorted(took_s)[len(took_s) // 2] < 0.02
