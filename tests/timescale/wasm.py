"""TimescaleDB Community as a WebAssembly process: one session for all, and no scheduler."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.timescale import installation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SERVER = Path(__file__).parent / "server.mjs"
START_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class WasmTimescale:
    """One server process with one database at a time; a new one costs half a second.

    All clients share one backend: a client that opens a transaction makes the others wait, locks
    exclude nobody, `pg_backend_pid()` is 0, PostgreSQL's timeouts never fire, and policies run only
    by `CALL run_job(id)`. Tests that need more ask `several_backends`.
    """

    name = "wasm"
    several_backends = False
    scheduler = False

    def __init__(self, modules: Path, *, turn_limit_s: float = 20.0) -> None:
        """Start the server, which takes 3 s.

        Args:
            modules: the folder that holds `node_modules`.
            turn_limit_s: how long a client waits while another one has a transaction open, before
                it is told so (SQLSTATE 53300) and cut off.

        Raises:
            RuntimeError: it ended, or said nothing in time; its stderr is in the message.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process lives
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
        self._unread = b""
        self._templates = {"empty"}
        self._in_use = False
        try:
            port = self._answer(START_TIMEOUT_S)["port"]
        except BaseException:
            self.close()
            raise
        self.dsn = f"postgresql://postgres:any@127.0.0.1:{port}/template1"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @contextmanager
    def database(
        self, template: str = "empty", prepare: Callable[[str], None] | None = None
    ) -> Generator[str]:
        """Give a database of the caller's own; see `tests.timescale.fixtures.Timescale`."""
        if self._in_use:
            raise RuntimeError("the WebAssembly build has one database at a time")
        self._in_use = True
        try:
            if template not in self._templates:
                if prepare is None:
                    raise ValueError(f"template {template!r} is new: say how to prepare it")
                self._do("restore", "empty")
                prepare(self.dsn)
                self._do("save", template)
                self._templates.add(template)
            self._do("restore", template)
            yield self.dsn
        finally:
            self._in_use = False

    def close(self) -> None:
        """End the process and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()

    def _do(self, action: str, name: str) -> None:
        """Give the server a command and wait until it is done."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": action, "name": name}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._report("is gone")) from None
        answer = self._answer(COMMAND_TIMEOUT_S)
        if answer.get("done") != action:
            raise RuntimeError(self._report(f"failed to {action} {name}: {answer}"))

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        """Read one line of JSON from the server."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(self._report(f"said nothing for {timeout_s} s"))
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise RuntimeError(self._report("ended"))
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    def _report(self, what: str) -> str:
        """Say what went wrong, with the last of the server's stderr."""
        self._stderr.seek(0)
        said = self._stderr.read()[-4000:].decode(errors="replace")
        return f"the TimescaleDB server {what}:\n{said}"
