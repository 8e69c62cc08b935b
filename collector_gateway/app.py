"""The gateway process, put together.

    gRPC streams ─┐                       ┌─ flush pool ──┐
                  ├─ ingest queue ─ flush ┤               ├─ PostgreSQL
    HTTP ─────────┘   claims, queries ────┴─ other pools ─┘

The order of a stop: agents are asked to go elsewhere, HTTP stops accepting, what is queued is
flushed and answered, then the pools close. Each step has a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from collector_gateway import authority
from collector_gateway.auth import Authenticator
from collector_gateway.certificates import grpc_credentials, http_context
from collector_gateway.claims import Claims
from collector_gateway.config_push import ConfigPush
from collector_gateway.credits import Credits
from collector_gateway.denials import Denials
from collector_gateway.descriptors import agents_connections
from collector_gateway.enrolling import EnrollmentService
from collector_gateway.http_server import HttpServer
from collector_gateway.ingest import Ingest
from collector_gateway.lanes import BACKLOG_MAX_BATCHES
from collector_gateway.limits import STREAMS_MAX_CONNECTION, Limits
from collector_gateway.live import Live
from collector_gateway.metrics import Metrics
from collector_gateway.service import TelemetryService
from collector_gateway.services import Services
from collector_gateway.sessions import Sessions
from collector_gateway.tokens import Tokens
from collector_gateway.upkeep import Upkeep
from hostpulse import errors
from hostpulse.clock import SystemClock
from hostpulse.lifecycle import run_until_stopped
from storage.database import open_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector_gateway.settings import GatewaySettings

HANDSHAKE_MS = 10_000
IDLE_MS = 60_000  # a connection without a stream
GRPC_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # keepalive_timeout_ms alone ends nothing
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # agents ping too
    ("grpc.max_concurrent_streams", STREAMS_MAX_CONNECTION),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    ("grpc.http.overload_protection", 1),  # streams that were reset count until they are gone
    ("grpc.so_reuseport", 0),  # two gateways on one port is a mistake, not a feature
)
DRAIN_S = 2.0
STOP_S = 4.0

log = structlog.get_logger()


class Gateway:
    """One gateway; `run` serves until `stop` is set.

    Args:
        settings: checked.
        web: makes the HTTP application; passed in, because the API knows the gateway, not the
            other way round.
    """

    def __init__(self, settings: GatewaySettings, web: Callable[[Services], object]) -> None:
        self._settings = settings
        self._web = web
        self._clock = SystemClock()
        self.metrics = Metrics()
        self.grpc_port = 0
        self.http_port = 0
        self.started = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then wind up.

        Raises:
            ConfigError: an address can't be listened on, or a file can't be read.
            SchemaMismatch: the database does not fit.
        """
        dsn = self._settings.database_url.get_secret_value()
        for variable in self._settings.exposed:
            log.warning("plaintext_beyond_this_machine", setting=variable)
        async with AsyncExitStack() as stack:
            flush_pool = await stack.enter_async_context(
                open_pool(dsn, "flush", max_size=1, statement_timeout_s=15.0)
            )
            claim_pool = await stack.enter_async_context(
                open_pool(dsn, "claim", max_size=1, statement_timeout_s=5.0, lock_timeout_s=1.0)
            )
            query_pool = await stack.enter_async_context(
                open_pool(dsn, "query", max_size=8, statement_timeout_s=10.0)
            )
            accepted = self._settings.tokens()
            tokens = Tokens(accepted, clock=self._clock) if accepted else None
            limits = Limits(
                requests_per_s=self._settings.http_requests_per_s,
                server_bytes_per_s=self._settings.server_bytes_per_s,
                clock=self._clock,
            )
            authenticator = Authenticator(
                query_pool, clock=self._clock, tokens=tokens, logins=limits.logins
            )
            denials = Denials(query_pool, clock=self._clock)
            live = Live(
                dsn,
                pool=query_pool,
                authenticator=authenticator,
                tokens=tokens,
                clock=self._clock,
            )
            sessions = Sessions()
            claims = Claims(claim_pool, gateway=f"{socket.gethostname()}:{os.getpid()}")
            upkeep = Upkeep(
                dsn,
                query_pool=query_pool,
                stalled_s=lambda: ingest.stalled_s,
                metrics=self.metrics,
            )
            ingest = Ingest(
                flush_pool,
                session_of=sessions.token_of,
                repair=upkeep.repair,
                metrics=self.metrics,
            )
            config = ConfigPush(dsn, sessions=sessions)
            service = TelemetryService(
                sessions=sessions,
                authenticator=authenticator,
                live=live,
                denials=denials,
                claims=claims,
                ingest=ingest,
                credits=Credits(BACKLOG_MAX_BATCHES),
                limits=limits,
                query_pool=query_pool,
                metrics=self.metrics,
                clock=self._clock,
                config=config,
            )
            enrolling = EnrollmentService(
                query_pool,
                denials=denials,
                limits=limits,
                read_authority=lambda: authority.read(self._settings.tls_cert),
            )
            web = self._web(
                Services(
                    query_pool=query_pool,
                    authenticator=authenticator,
                    denials=denials,
                    live=live,
                    limits=limits,
                    store=ingest,
                    readiness=upkeep.readiness,
                    registry=self.metrics.registry,
                    clock=self._clock,
                    stopping=stop,
                )
            )
            flushed = asyncio.create_task(ingest.run(), name="ingest")
            claimed = asyncio.create_task(claims.run(), name="claims")
            try:
                await run_until_stopped(
                    {
                        "grpc": self._serve_grpc(service, enrolling, stop),
                        "http": self._serve_http(web, stop),
                        "watch": upkeep.watch(stop),
                        "keys": live.watch(stop),
                        "key listener": live.listen(stop),
                        "denials": denials.run(stop),
                        "maintain": upkeep.maintain(stop),
                        "rollups": upkeep.roll_up(stop),
                        "config": config.run(stop),
                        "ingest": _mirror(flushed, stop),
                        "claims": _mirror(claimed, stop),
                    },
                    stop,
                    grace_s=STOP_S,
                )
            finally:
                ingest.stop()
                claimed.cancel()
                with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                    async with asyncio.timeout(1.0):
                        await flushed

    async def _serve_grpc(
        self, service: TelemetryService, enrolling: EnrollmentService, stop: asyncio.Event
    ) -> None:
        """Serve agents; on stop ask them to go, then close."""
        connections = ("grpc.max_allowed_incoming_connections", agents_connections())
        server = grpc.aio.server(options=(*GRPC_OPTIONS, connections))
        server.add_generic_rpc_handlers((service.handler(), enrolling.handler()))
        servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue] - set at import
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        address = self._settings.grpc_listen
        try:
            self.grpc_port = self._listen(server, address)
        except RuntimeError as error:
            raise errors.ConfigError(
                "HOSTPULSE_GRPC_LISTEN", expectation="an address that is free", value=address
            ) from error
        await server.start()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("grpc_listening", address=address, tls=self._settings.tls_cert is not None)
        await stop.wait()
        await servicer.enter_graceful_shutdown()
        await service.drain(DRAIN_S)
        await server.stop(grace=0.2)

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        """Bind the agents' port, with TLS where there is a certificate."""
        files = self._settings.certificate_files
        if files is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, grpc_credentials(files))

    async def _serve_http(self, web: object, stop: asyncio.Event) -> None:
        """Serve people and scripts."""
        files = self._settings.certificate_files if self._settings.http_has_tls else None
        context = None if files is None else http_context(files)
        server = HttpServer(
            self._settings.http_listen, context=context, proxies=self._settings.proxies
        )
        self.http_port = server.port
        self.started.set()
        await server.serve(web, stop)


async def _mirror(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """End when `task` does, so that its failure stops the process, but leave it alone on stop."""
    stopping = asyncio.create_task(stop.wait(), name=f"{task.get_name()} stop")
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if task.done():
        task.result()
