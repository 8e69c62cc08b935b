"""Serves the HTTP application: uvicorn, with bounds on what one address may hold open.

uvicorn bounds requests and waits for the next one, but not for the end of a header that was begun,
nor for a reader who stopped reading: both would hold a connection for as long as they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from collector_gateway.addresses import network_of
from collector_gateway.proxies import Proxies
from hostpulse import errors

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

READ_WITHIN_S = 30.0  # of an answer that the other side has stopped reading
HEADER_WITHIN_S = 10.0  # from the connection's start, and from the first byte of a later request
ADDRESS_MAX_CONNECTIONS = 100  # of an address that is no proxy of ours
NOBODY = Proxies()
REQUESTS_MAX = 500  # connections and requests at once
HEADER_MAX_BYTES = 32 * 1024
SHUTDOWN_S = 2

log = structlog.get_logger()


class HttpServer:
    """Listens when made; `serve` answers until the stop.

    Args:
        address: host:port.
        context: TLS; None is plaintext.
        proxies: are believed for whom they ask, and hold as many connections as they like.

    Raises:
        ConfigError: the address can't be listened on.
    """

    def __init__(
        self, address: str, *, context: ssl.SSLContext | None, proxies: Proxies = NOBODY
    ) -> None:
        self._address = address
        self._proxies = proxies
        self._context = context
        self._listener = _listen(address)
        self.port: int = self._listener.getsockname()[1]

    async def serve(self, app: object, stop: asyncio.Event) -> None:
        """Answer until the stop; what is being answered then has 2 s."""
        server = _Server(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType]
                http=_protocol(self._proxies),
                proxy_headers=bool(self._proxies),
                forwarded_allow_ips=self._proxies.texts(),
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=True,
                lifespan="off",
                timeout_graceful_shutdown=SHUTDOWN_S,
                h11_max_incomplete_event_size=HEADER_MAX_BYTES,
                limit_concurrency=REQUESTS_MAX,
                ssl_context_factory=self._make_context if self._context else None,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[self._listener]), name="uvicorn")
        log.info("http_listening", address=self._address, tls=self._context is not None)
        try:
            stopping = asyncio.create_task(stop.wait(), name="http stop")
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            server.should_exit = True
            await serving
        finally:
            serving.cancel()
            self._listener.close()

    def _make_context(
        self, _config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]
    ) -> ssl.SSLContext:
        """Give uvicorn the context that was made already."""
        assert self._context is not None  # noqa: S101 - for the type checker
        return self._context


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: they would take SIGINT away from the other parts."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to `hostpulse.lifecycle`."""
        yield


def _protocol(proxies: Proxies) -> type[H11Protocol]:
    """Make the protocol of one server: its connections are counted by address."""
    open_by_host: Counter[str] = Counter()

    class BoundedProtocol(H11Protocol):
        """uvicorn's protocol, ended when a header stays away or an address holds too many."""

        _host: str | None = None
        _deadline: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            host = self.client[0] if self.client else ""
            if host and host not in proxies:
                self._host = host = network_of(host)
                open_by_host[host] += 1
                if open_by_host[host] > ADDRESS_MAX_CONNECTIONS:
                    transport.abort()
                    return
            self._await_header()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._header_came()
            self._was_read()
            if self._host is not None:
                open_by_host[self._host] -= 1
                if not open_by_host[self._host]:
                    del open_by_host[self._host]

        def data_received(self, data: bytes) -> None:
            before = cast("RequestResponseCycle | None", self.cycle)  # its type forgot the start
            if self._deadline is None and (before is None or before.response_complete):
                self._await_header()
            super().data_received(data)
            if self.cycle is not before:
                self._header_came()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(READ_WITHIN_S, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._was_read()

        def _await_header(self) -> None:
            self._deadline = self.loop.call_later(HEADER_WITHIN_S, self.transport.abort)

        def _header_came(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _was_read(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

    return BoundedProtocol


def _listen(address: str) -> socket.socket:
    """Bind the port; connections are taken once the server serves."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) where the protocol is named. Else the second part of an
    # answer, its body, waits for the client to confirm the first: 40 ms each time.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound: Any = (host.strip("[]"), int(port))
    try:
        listener.bind(bound)
    except OSError as error:
        listener.close()
        raise errors.ConfigError(
            "HOSTPULSE_HTTP_LISTEN", expectation="an address that is free", value=address
        ) from error
    return listener
