"""The process of the WebAssembly server: started, given commands, ended; every wait has a bound."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.timescale import installation

SERVER = Path(__file__).parent / "server.mjs"
START_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
STDERR_SHOWN_BYTES = 4000


class ServerProcess:
    """One `node server.mjs`; its stderr is kept for whoever has to know why it ended."""

    def __init__(self, modules: Path, *, turn_limit_s: float) -> None:
        """Start it, which takes 3 s.

        Args:
            modules: the folder that holds `node_modules`.
            turn_limit_s: how long a client waits while another one has a transaction open, before
                it is told so (SQLSTATE 53300) and cut off.

        Raises:
            RuntimeError: it ended, or said nothing in time; its stderr is in the message.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process lives
        self._unread = b""
        self._process = subprocess.Popen(
            [
                str(installation.node()),
                "--expose-gc",
                str(SERVER),
                str(modules),
                str(int(turn_limit_s * 1000)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C is pytest's: the server ends when pytest says so
        )
        try:
            self.port = int(self._answer(START_TIMEOUT_S)["port"])
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def tell(self, action: str, name: str) -> None:
        """Give it a command, `save` or `restore`, and wait until it is done.

        Raises:
            RuntimeError: it failed; its stderr is in the message.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": action, "name": name}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self.report("is gone")) from None
        answer = self._answer(COMMAND_TIMEOUT_S)
        if answer.get("done") != action:
            raise RuntimeError(self.report(f"failed to {action} {name}: {answer}"))

    def report(self, what: str) -> str:
        """Say what went wrong, with the last of the process's stderr."""
        self._stderr.seek(0)
        said = self._stderr.read()[-STDERR_SHOWN_BYTES:].decode(errors="replace")
        return f"the TimescaleDB server {what}:\n{said}"

    def close(self) -> None:
        """End it and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # a command that it did not live to read
            self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        """Read one line of JSON."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(self.report(f"said nothing for {timeout_s} s"))
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise RuntimeError(self.report("ended"))
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)
