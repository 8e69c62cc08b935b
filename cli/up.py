"""`hostpulse up`: database, gateway, alerting and agent of one machine, children of one process.

They start in this order and stop in the reverse one, within nine seconds. A child that ends is
started again; one that can't be kept running ends everything, so that a service manager notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from cli import links, readiness
from cli.children import WRONG_CONFIG, Child, ChildFailed, agent_environment
from hostpulse import errors, lifecycle
from storage import location
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

READY_WITHIN_S = 60.0
ASK_TIMEOUT_S = 2.0
STOP_WITHIN_S = 8.0  # and a moment for each that must be killed then
DEFAULTS = {
    "HOSTPULSE_DB_PORT": "55432",
    "HOSTPULSE_GRPC_LISTEN": "127.0.0.1:50051",
    "HOSTPULSE_HTTP_LISTEN": "127.0.0.1:8080",
}


class Up:
    """The supervisor; `run` returns the exit status."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read the few settings that the supervisor itself needs.

        Raises:
            ConfigError: one is wrong.
        """
        self._environment = {**DEFAULTS, **environment}
        self._data_dir = location.data_dir()
        self._external_dsn = environment.get("HOSTPULSE_DATABASE_URL")
        self._server_name = environment.get("HOSTPULSE_SERVER_NAME") or socket.gethostname()
        self._sign_in_token = secrets.token_urlsafe(32)  # good for one use, within 15 minutes
        self._url = ""  # of the gateway, once it has answered
        self._children: list[Child] = []
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Start everything, keep it running until a signal, stop everything."""
        status = 0
        with lifecycle.stop_on_signals(self._stop):
            try:
                await self._start_all()
                if not self._stop.is_set():
                    self._announce()
                await self._keep_all_running()
            except ChildFailed as error:
                if str(error):
                    sys.stderr.write(f"hostpulse up: {error}\n")
                status = error.status
            finally:
                deadline_s = time.monotonic() + STOP_WITHIN_S
                for child in reversed(self._children):
                    await child.stop(deadline_s=deadline_s)
        return status

    async def _start_all(self) -> None:
        """Start the children in order, each when the one before is ready."""
        dsn = self._external_dsn
        if dsn is None:
            embedded = EmbeddedPostgres(
                self._data_dir, port=_port(self._environment["HOSTPULSE_DB_PORT"])
            )
            await asyncio.to_thread(embedded.prepare)
            await self._start(
                Child(
                    name="postgres",
                    command=embedded.command(),
                    options=embedded.process_options(),
                    error_file=self._data_dir / "postgres.err",
                    stop_signal=signal.SIGINT,  # fast: sessions are ended, nothing is lost
                    kill_signal=signal.SIGQUIT,  # immediate: recovery at the next start
                    stop_within_s=2.5,
                )
            )
            dsn = embedded.url
        common = {
            "HOSTPULSE_DATABASE_URL": dsn,
            "HOSTPULSE_DATA_DIR": str(self._data_dir),
            **{name: self._environment[name] for name in DEFAULTS},
        }
        await self._prepare({**common, links.VARIABLE: self._sign_in_token})
        gateway = _python("gateway", ["cli", "gateway"], common, stop_within_s=4.0)
        await self._start(gateway)
        await self._until_ready(gateway)
        await self._start(_python("alerting", ["cli", "alerting"], common, stop_within_s=1.5))
        agent = agent_environment(
            self._environment, data_dir=self._data_dir, server_name=self._server_name
        )
        await self._start(_python("agent", ["agent"], agent, stop_within_s=3.0))

    async def _start(self, child: Child) -> None:
        """Start a child, unless a stop was asked for meanwhile."""
        if not self._stop.is_set():
            await child.start()
            self._children.append(child)

    async def _prepare(self, environment: Mapping[str, str | None]) -> None:
        """Check all settings, migrate and make keys.

        Raises:
            ChildFailed: it did not work; the reason is on stderr.
        """
        child = _python("prepare", ["cli.prepare"], environment, stop_within_s=2.0)
        child.command = [*child.command, self._server_name]
        await self._start(child)
        if child.process is None:
            return
        exited = asyncio.create_task(child.process.wait(), name="prepare")
        stopping = asyncio.create_task(self._stop.wait(), name="stop preparing")
        await asyncio.wait({exited, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stop.is_set():
            exited.cancel()
            return
        self._children.remove(child)
        if exited.result() == WRONG_CONFIG:
            raise ChildFailed("", WRONG_CONFIG)
        if exited.result() != 0:
            raise ChildFailed("the database can't be prepared, see above", max(exited.result(), 1))

    async def _until_ready(self, gateway: Child) -> None:
        """Wait until the gateway says that it is ready.

        Raises:
            ChildFailed: it ended, or did not get ready in time.
        """
        listen = self._environment["HOSTPULSE_HTTP_LISTEN"]
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._stop.is_set():
            if gateway.process is not None and gateway.process.returncode is not None:
                status = gateway.process.returncode
                raise ChildFailed(f"gateway exited {status}", max(status, 1))
            answer = await asyncio.to_thread(readiness.ask, listen, timeout_s=ASK_TIMEOUT_S)
            if answer.ready:
                self._url = answer.url
                return
            if time.monotonic() > deadline:
                raise ChildFailed(f"the gateway was not ready within {READY_WITHIN_S:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._stop.wait()

    async def _keep_all_running(self) -> None:
        """Watch the children until a signal, or until one of them can't be kept running."""
        tasks = [
            asyncio.create_task(child.keep_running(self._stop), name=child.name)
            for child in self._children
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            self._stop.set()
            await asyncio.wait(tasks) if tasks else None

    def _announce(self) -> None:
        """Say where everything is."""
        engine = (
            "embedded PostgreSQL, engine `postgres` (plain partitions); for TimescaleDB set "
            "HOSTPULSE_DATABASE_URL"
            if self._external_dsn is None
            else "the one of HOSTPULSE_DATABASE_URL (`hostpulse db status` tells the engine)"
        )
        lines = (
            f"  web page   {links.sign_in(self._url, self._sign_in_token)}",
            f"  HTTP API   {self._url}/api/v1/servers",
            f"  agents     {self._environment['HOSTPULSE_GRPC_LISTEN']} (gRPC)",
            f"  database   {engine}",
            f"  data       {self._data_dir}",
            f"  admin key  {self._data_dir / 'admin.key'}",
            "",
            f'  curl -H "Authorization: Bearer $(cat {self._data_dir / "admin.key"})" \\',
            f"       {self._url}/api/v1/servers/{quote(self._server_name)}",
            "",
            "hostpulse is ready",
        )
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _python(
    name: str, module: list[str], environment: Mapping[str, str | None], *, stop_within_s: float
) -> Child:
    """Make a child that runs one of our modules."""
    return Child(
        name=name,
        command=[sys.executable, "-m", *module],
        environment=environment,
        stop_within_s=stop_within_s,
    )


def _port(value: str) -> int:
    """Read HOSTPULSE_DB_PORT."""
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise errors.ConfigError(
            "HOSTPULSE_DB_PORT", expectation="a port from 1 to 65535", value=value
        )
    return int(value)


@contextlib.contextmanager
def _only_one(data_dir: Path) -> Generator[None]:
    """Hold the data directory's lock.

    Raises:
        ConfigError: another `hostpulse up` holds it.
    """
    lock_file = data_dir / "up.lock"
    # Opened by us alone, and freed by the kernel however we end.
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.ConfigError(
                "HOSTPULSE_DATA_DIR",
                expectation="a directory that no other `hostpulse up` is using",
                value=str(data_dir),
            ) from error
        yield
    finally:
        os.close(descriptor)


def main() -> int:
    """Run the supervisor; 0 after SIGINT or SIGTERM, 2 for a wrong setting, 1 for a failure."""
    try:
        up = Up(os.environ)
        with _only_one(_made(location.data_dir())):
            return asyncio.run(up.run())
    except (errors.ConfigError, EmbeddedPostgresError) as error:
        sys.stderr.write(f"hostpulse up: {error}\n")
        return 2


def _made(data_dir: Path) -> Path:
    """Make the data directory where it is missing; others may pass through to what is theirs."""
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            data_dir.chmod(0o711)  # every secret in it is a file of mode 0600
    except OSError as error:
        raise errors.ConfigError(
            "HOSTPULSE_DATA_DIR",
            expectation=f"a directory that can be made ({error})",
            value=str(data_dir),
        ) from error
    return data_dir
