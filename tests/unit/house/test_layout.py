"""The shape of the house: packages, sizes, names of tests, locked versions."""

from __future__ import annotations

import ast
import collections
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = (
    "agent",
    "alerting",
    "api",
    "cli",
    "collector_gateway",
    "hostpulse",
    "migrations",
    "storage",
)
NOT_INSTALLED = ("dashboards",)  # runs when building
GENERATED = ROOT / "hostpulse/v1"
MODULES = sorted(
    path
    for package in (*PACKAGES, *NOT_INSTALLED)
    for path in (ROOT / package).rglob("*.py")
    if not path.is_relative_to(GENERATED)
)
LINES_MAX = 400  # that are not blank; the aim is half of it
VAGUE = {"utils", "helpers", "manager", "common", "misc"}
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_no_module_has_outgrown_its_noun() -> None:
    sizes = {
        name_of(path): sum(map(bool, path.read_text(encoding="utf-8").split("\n")))
        for path in MODULES
    }

    assert {name: size for name, size in sizes.items() if size > LINES_MAX} == {}


def test_no_module_has_a_vague_name() -> None:
    assert [name_of(path) for path in MODULES if path.stem in VAGUE] == []


def test_names_of_test_files_are_unique() -> None:
    names = collections.Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))

    assert [name for name, count in names.items() if count > 1] == []


def test_every_package_is_installed_typed_and_under_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = project["tool"]

    assert set(PACKAGES) == set(tools["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert {*PACKAGES, *NOT_INSTALLED} == set(tools["importlinter"]["root_packages"])
    assert {*PACKAGES, *NOT_INSTALLED} <= set(tools["basedpyright"]["include"])


@pytest.mark.parametrize("path", LOCKS, ids=name_of)
def test_every_locked_version_has_a_hash(path: Path) -> None:
    entries = re.split(r"(?<!\\)\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8").strip())

    assert entries
    assert [each.split()[0] for each in entries if "--hash=sha256:" not in each] == []
    assert [each.split()[0] for each in entries if not re.match(r"[\w.-]+(\[\S+\])?==", each)] == []


@pytest.mark.parametrize("path", LOCKS, ids=name_of)
def test_a_lock_names_no_registry(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


def test_there_are_locks_for_agent_server_and_development() -> None:
    assert [path.stem for path in LOCKS] == ["agent", "dev", "server"]
