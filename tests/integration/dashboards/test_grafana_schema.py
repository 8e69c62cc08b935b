"""The dashboards are what Grafana's published types say a dashboard is, in versions 11, 12 and 13.

Grafana Labs publishes them as `@grafana/schema`: TypeScript made from the CUE kinds of dashboards
and of each panel's options. The compiler judges our JSON as literals of those types, so that a name
or a value that Grafana does not know is an error. The types of 11 to 13 differ; all must agree.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.dashboards import grafana
from tests.timescale import installation

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TIMEOUT_S = 100.0
# JSON has no enums and need not have everything: Grafana fills in what is missing.
PRELUDE = """
type Json<T> = 0 extends 1 & T ? any
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Json<U>>
  : T extends object ? { [K in keyof T]?: Json<T[K]> }
  : unknown;
"""
CONFIGURED = {"heatmap", "table", "timeseries"}  # kinds with a `custom` of their own


@pytest.fixture(scope="module")
def modules() -> Path:
    return installation.modules(source=HERE / "schema", name="grafana-schema") / "node_modules"


def kinds(package: Path) -> dict[str, Path]:
    """Return the module of each kind of panel."""
    return {
        file.parents[2].name: file
        for file in package.glob("dist/*/raw/composable/*/panelcfg/x/*types.gen.d.ts")
    }


def source(package: Path, board: dict) -> str:
    """Write a program whose literals are a dashboard and its panels."""
    of_kind = kinds(package)
    lines = ['import type { Dashboard, Panel, RowPanel } from "@grafana/schema";', PRELUDE]
    used = {panel["type"] for panel in board["panels"]} - {"row"}
    for kind in sorted(used):
        module = of_kind[kind].with_suffix("").with_suffix("").as_posix()
        lines.append(f'import type * as {kind} from "{module}";')
    rest = {key: value for key, value in board.items() if key != "panels"}
    marks = [{**each, "target": {}} for each in board["annotations"].get("list", [])]
    rest["annotations"] = {"list": marks}
    lines.append(f"export const board: Json<Dashboard> = {json.dumps(rest)};")
    for panel in board["panels"]:
        name = f"panel{panel['id']}"
        if (kind := panel["type"]) == "row":
            lines.append(f"export const {name}: Json<RowPanel> = {json.dumps(panel)};")
            continue
        custom = f"{kind}.FieldConfig" if kind in CONFIGURED else "{}"
        # The queries belong to the data source; of a panel's type only `options` are its own.
        plain = {key: value for key, value in panel.items() if key not in ("targets", "options")}
        lines += [
            f"export const {name}: Json<Panel<{{}}, {custom}>> = {json.dumps(plain)};",
            f"export const options{panel['id']}: Json<{kind}.Options> ="
            f" {json.dumps(panel.get('options', {}))};",
        ]
    return "\n".join(lines)


def compiled(modules: Path, folder: Path, version: int, boards: dict[str, dict]) -> Iterator[str]:
    """Give the compiler's complaints."""
    package = modules / f"grafana-schema-{version}"
    types = next(
        each
        for each in ("dist/types/index.d.ts", "dist/esm/index.d.mts")
        if (package / each).is_file()
    )
    for name, board in boards.items():
        (folder / f"{name}.ts").write_text(source(package, board))
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "types": [],
        "paths": {"@grafana/schema": [str(package / types)]},
    }
    settings = {"compilerOptions": options, "files": [f"{name}.ts" for name in boards]}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [installation.node(), modules / "typescript/bin/tsc", "-p", folder, "--pretty", "false"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode in (0, 1, 2), done.stdout
    yield from (line for line in done.stdout.splitlines() if "error TS" in line)


@pytest.mark.parametrize("version", [11, 12, 13])
def test_dashboards_fit_the_published_types(version: int, modules: Path, tmp_path: Path) -> None:
    boards = {name: grafana.load(f"{name}.json") for name in ("main", "server")}

    found = list(compiled(modules, tmp_path, version, boards))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("version", [11, 12, 13])
def test_what_does_not_fit_is_found(version: int, modules: Path, tmp_path: Path) -> None:
    board = grafana.load("server.json")
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    panels[0]["options"]["legend"]["displayMode"] = "tree"
    panels[1]["fieldConfig"]["defaults"]["custom"]["lineWidth"] = "thin"
    panels[2]["titel"] = "no such name"
    board["refresh"] = 30

    found = list(compiled(modules, tmp_path, version, {"wrong": board}))
    assert len(found) == 4, "\n".join(found)
