"""The processes that `hostpulse up` runs, and how each one starts, is watched and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cli.readiness import from_here
from hostpulse import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

PR_SET_PDEATHSIG = 1  # prctl(2)
FAILURES_MAX = 5
FAILURES_WINDOW_S = 60.0
LAST_PATIENCE_S = 0.2
WRONG_CONFIG = 2  # the exit status of a child that no restart can help
RESTART = backoff.BackoffPolicy(initial_s=0.2, maximum_s=2.0)

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(RuntimeError):
    """A child can't be kept running; `status` is what the supervisor should exit with.

    No message means that the child has said it all.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def agent_environment(
    environment: Mapping[str, str], *, data_dir: Path, server_name: str
) -> dict[str, str | None]:
    """Tell the agent where its gateway is; None takes a variable away.

    Certificates of the gateway are not the agent's.
    """
    changes: dict[str, str | None] = {
        "HOSTPULSE_DATA_DIR": str(data_dir),
        "HOSTPULSE_SERVER_NAME": server_name,
        "HOSTPULSE_GATEWAY": from_here(environment["HOSTPULSE_GRPC_LISTEN"]),
        "HOSTPULSE_API_KEY": None,
        "HOSTPULSE_API_KEY_FILE": str(data_dir / "agent.key"),
        "HOSTPULSE_TLS_CERT": None,
        "HOSTPULSE_TLS_KEY": None,
    }
    certificate = environment.get("HOSTPULSE_TLS_CERT")
    if certificate and "HOSTPULSE_TLS_CA" not in environment:
        changes["HOSTPULSE_TLS_CA"] = certificate
    return changes


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Return a function for a new process that has it signalled when its parent dies.

    It must run after setuid, which clears the setting; subprocess runs it there.
    """
    parent = os.getpid()

    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # it died before we could ask
                os._exit(1)

    return arrange


@dataclass(slots=True, kw_only=True)
class Child:
    """A process and its rules.

    Args:
        name: for people.
        command: what to run.
        environment: added to ours; None takes a variable away.
        options: for `subprocess`, such as the user.
        stop_signal: what asks it to end.
        error_file: takes its stderr, written anew at each start; None is ours.
        kill_signal: what ends it when it does not.
        stop_within_s: how long it may take.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    error_file: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    stop_within_s: float = 2.0
    process: asyncio.subprocess.Process | None = None
    failures: deque[float] = field(default_factory=deque[float])

    async def start(self) -> None:
        """Start it in a session of its own: Ctrl-C reaches the supervisor alone."""
        environment = {**os.environ, **self.environment}
        options = {"env": {k: v for k, v in environment.items() if v is not None}, **self.options}
        with self._errors() as stderr:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=die_with_parent(self.stop_signal),
                **options,  # pyright: ignore[reportArgumentType]
            )

    def _errors(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        """Open the file for stderr, if it goes to one."""
        if self.error_file is None:
            return contextlib.nullcontext()
        return self.error_file.open("wb")

    async def stop(self, *, deadline_s: float) -> None:
        """Ask it to end, then make it; from `deadline_s` (monotonic) on there is little patience.

        The deadline is everybody's: who hangs uses up the time of those who stop after it.
        """
        process = self.process
        if process is None or process.returncode is not None:
            return
        for number in (self.stop_signal, self.kill_signal):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            left_s = max(deadline_s - time.monotonic(), LAST_PATIENCE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self.stop_within_s, left_s)):
                    await process.wait()
                    return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def keep_running(self, stop: asyncio.Event) -> None:
        """Start it again whenever it ends, until `stop`.

        Raises:
            ChildFailed: it ended five times within a minute, or for a wrong setting.
        """
        delays = backoff.delays(RESTART)
        while True:
            assert self.process is not None  # noqa: S101 - start() came first
            exited = asyncio.create_task(self.process.wait(), name=f"wait {self.name}")
            stopping = asyncio.create_task(stop.wait(), name=f"stop {self.name}")
            await asyncio.wait({exited, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if stop.is_set():
                exited.cancel()
                return
            self._note_failure(exited.result())
            if await backoff.pause(next(delays), stop):
                return
            await self.start()

    def _note_failure(self, status: int) -> None:
        """Say that it ended, and give up where restarting does not help."""
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited {status}"
        where = f" (see {self.error_file})" if self.error_file else ""
        sys.stderr.write(f"hostpulse up: {self.name} {how}{where}\n")
        if status == WRONG_CONFIG:
            raise ChildFailed(f"{self.name} refuses its settings, see above", WRONG_CONFIG)
        now = time.monotonic()
        self.failures.append(now)
        while self.failures[0] < now - FAILURES_WINDOW_S:
            self.failures.popleft()
        if len(self.failures) >= FAILURES_MAX:
            raise ChildFailed(
                f"{self.name} ended {FAILURES_MAX} times within {FAILURES_WINDOW_S:g} s"
            )
