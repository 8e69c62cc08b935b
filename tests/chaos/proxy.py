"""A TCP proxy that can be cut, can hold everything back, and can refuse."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CHUNK_BYTES = 65_536


class Proxy:
    """Forwards connections to one port of loopback; runs in a thread of its own."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._ready = threading.Event()
        self._stopped: asyncio.Event
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(5)

    def cut(self) -> None:
        """Reset every connection."""
        self._do(self._abort)

    def hold(self) -> None:
        """Let nothing through, in either direction; connections stay open."""
        self._do(self._passing.clear)

    def refuse(self) -> None:
        """Reset every connection, and those to come."""

        def act() -> None:
            self._refusing = True
            self._abort()

        self._do(act)

    def heal(self) -> None:
        """Forward again, also what was held back."""

        def act() -> None:
            self._refusing = False
            self._passing.set()

        self._do(act)

    def _do(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _abort(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._forward(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", self.port)
        self._ready.set()
        await self._stopped.wait()
        server.close()
        self._abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, upstream[1])
        self._writers.update(pair)
        try:
            await self._both(self._pump(reader, pair[1]), self._pump(upstream[0], writer))
        finally:
            self._writers.difference_update(pair)
            for each in pair:
                each.transport.abort()

    async def _both(self, *pumps: Coroutine[object, object, None]) -> None:
        tasks = [asyncio.ensure_future(each) for each in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
