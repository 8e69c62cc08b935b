"""TimescaleDB Community in WebAssembly: one session for all clients, and no scheduler."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.timescale.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

TURN_LIMIT_S = 20.0


class WasmTimescale:
    """One server process with one database at a time; a new one costs half a second.

    All clients share one backend: a client that opens a transaction makes the others wait, locks
    exclude nobody, `pg_backend_pid()` is 0, PostgreSQL's timeouts never fire, and policies run only
    by `CALL run_job(id)`. Tests that need more ask `several_backends` or `scheduler`.
    """

    name = "wasm"
    several_backends = False
    scheduler = False

    def __init__(self, modules: Path, *, turn_limit_s: float = TURN_LIMIT_S) -> None:
        """Start the server; the arguments and errors are those of `ServerProcess`."""
        self._modules = modules
        self._turn_limit_s = turn_limit_s
        self._server = self._start()
        self._prepare: dict[str, Callable[[str], None]] = {}
        self._in_use = False

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    @contextmanager
    def database(
        self, template: str = "empty", prepare: Callable[[str], None] | None = None
    ) -> Generator[str]:
        """Give a database of the caller's own; see `tests.timescale.fixtures.Timescale`."""
        if self._in_use:
            raise RuntimeError("the WebAssembly build has one database at a time")
        if template != "empty" and template not in self._prepare:
            if prepare is None:
                raise ValueError(f"template {template!r} is new: say how to prepare it")
            self._prepare[template] = prepare
        self._in_use = True
        try:
            if not self._server.running:  # an earlier test broke it and has failed for that
                print(self._server.report("was started again"), file=sys.stderr)  # noqa: T201
                self._server.close()
                self._server = self._start()
            self._restore(template)
            yield self._dsn
        finally:
            self._in_use = False

    def close(self) -> None:
        """End the server."""
        self._server.close()

    @property
    def _dsn(self) -> str:
        """Where the server listens; any password is right."""
        return f"postgresql://postgres:any@127.0.0.1:{self._server.port}/template1"

    def _start(self) -> ServerProcess:
        """Start a server, which has saved nothing but `empty`."""
        self._saved = {"empty"}
        return ServerProcess(self._modules, turn_limit_s=self._turn_limit_s)

    def _restore(self, template: str) -> None:
        """Let the database be a copy of `template`, prepared now if it must be."""
        if template not in self._saved:
            self._server.tell("restore", "empty")
            self._prepare[template](self._dsn)
            self._server.tell("save", template)
            self._saved.add(template)
        self._server.tell("restore", template)
