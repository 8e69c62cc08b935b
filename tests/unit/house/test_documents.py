"""The documents name what exists: commands, settings, columns, files, make targets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main

from agent.options import OPTIONS
from alerting.settings import AlertingSettings
from cli.commands import app
from collector_gateway.settings import GatewaySettings
from storage import catalog
from storage.settings import CONFIG_VARIABLE, PREFIX, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/**/README.md"))
    if not any(
        part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts
    )
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MODELS: tuple[type[ServerSettings], ...] = (GatewaySettings, AlertingSettings)
SUPERVISOR_ONLY = {"HOSTPULSE_DB_PORT"}
SAYS = " is ready"  # hostpulse
FOR_TESTS_ONLY = {"HOSTPULSE_TEST_JOURNAL"}
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
HOSTS = {"127.0.0.1:8080", "example.org", "keepachangelog.com", "semver.org"}  # for documents


def variables() -> set[str]:
    """Return every variable that some process reads."""
    of_models = {f"{PREFIX}{name.upper()}" for model in MODELS for name in model.model_fields}
    return of_models | {each.variable for each in OPTIONS} | {CONFIG_VARIABLE} | SUPERVISOR_ONLY


def defaults() -> Iterator[tuple[str, str]]:
    """Yield the variables of the models that have a plain default."""
    for model in MODELS:
        for name, field in model.model_fields.items():
            if isinstance(field.default, str | float | int):
                yield f"{PREFIX}{name.upper()}", str(field.default)


def commands(group: object, path: tuple[str, ...] = ("hostpulse",)) -> Iterator[str]:
    """Yield every command as it is typed."""
    for name, command in getattr(group, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


COMMANDS = sorted(commands(typer.main.get_command(app)))
GROUPS = {command.rpartition(" ")[0] for command in COMMANDS}
SETTINGS = TEXTS["docs/settings.md"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_documented(command: str) -> None:
    assert f"`{command}`" in TEXTS["docs/commands.md"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_names_commands_that_exist_only(name: str) -> None:
    spans = re.findall(r"`([^`\n]+)`", TEXTS[name])
    lines = re.findall(r"^ {4,}(.+)$", TEXTS[name], re.MULTILINE)
    typed = re.findall(r"(?:^|[\s(])hostpulse((?: [a-z][a-z-]*)+)", "\n".join((*spans, *lines)))
    known = (*COMMANDS, *GROUPS)
    unknown = {
        f"hostpulse{words}"
        for words in typed
        if words != SAYS
        if not any(f"hostpulse{words} ".startswith(f"{each} ") for each in known if " " in each)
    }

    assert unknown == set()


def test_every_setting_is_documented_and_nothing_else() -> None:
    rows = set(re.findall(r"^\| `(HOSTPULSE_\w+)` \|", SETTINGS, re.MULTILINE))

    assert rows == variables()


@pytest.mark.parametrize(("variable", "default"), sorted(set(defaults())))
def test_a_documented_default_is_the_default(variable: str, default: str) -> None:
    (row,) = re.findall(rf"^\| `{variable}` \|(.+?)\|", SETTINGS, re.MULTILINE)

    assert f"`{default}`" in row


def test_the_example_environment_lists_every_setting_once() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert sorted(re.findall(r"^#?(HOSTPULSE_\w+)=", text, re.MULTILINE)) == sorted(variables())


def test_no_process_reads_a_variable_that_is_not_documented() -> None:
    named = {
        name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"\bHOSTPULSE_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }

    assert named - variables() - FOR_TESTS_ONLY == set()


@pytest.mark.parametrize("table", catalog.TABLES.values(), ids=lambda table: table.name)
def test_the_sql_document_lists_the_columns_of_the_catalog(table: catalog.Table) -> None:
    body = TEXTS["docs/sql.md"].partition(f"### `{table.name}`\n")[2].partition("\n### ")[0]

    assert tuple(re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)) == table.columns


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files(name: str) -> None:
    folder = (ROOT / name).parent
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", TEXTS[name])

    assert [link for link in links if link and not (folder / link).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_links_into_a_document_lead_to_a_heading(name: str) -> None:
    missing: list[str] = []
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", TEXTS[name]):
        target = ((ROOT / name).parent / link).resolve() if link else ROOT / name
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        if anchor not in slugs:
            missing.append(f"{link}#{anchor}")

    assert missing == []


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_names_make_targets_that_exist_only(name: str) -> None:
    named = set(re.findall(r"(?:`|^ {4})make ([a-z][a-z0-9-]*)", TEXTS[name], re.MULTILINE))
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE))

    assert named - targets == set()


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_points_at_known_hosts_only(name: str) -> None:
    assert set(re.findall(r"https?://([^/\s`'\")]+)", TEXTS[name])) - HOSTS == set()


def test_decisions_are_numbered_without_holes_and_fit_a_page() -> None:
    records = sorted((ROOT / "docs/adr").glob("*.md"))

    assert [path.name[:4] for path in records] == [f"{n:04}" for n in range(1, len(records) + 1)]
    assert [p.name for p in records if p.read_text(encoding="utf-8").count("\n") > 66] == []
