"""What deploy/ names is there: services, volumes, files, commands, the reader's role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cli.commands import app
from dashboards.panels import SHORTEST
from dashboards.queries import PLUGIN
from storage import reader

CHECKOUT = Path(__file__).parents[3]
DEPLOY = CHECKOUT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROVISIONING = DEPLOY / "grafana/provisioning"
(SOURCE,) = yaml.safe_load((PROVISIONING / "datasources/hostpulse.yaml").read_text())["datasources"]
(PROVIDER,) = yaml.safe_load((PROVISIONING / "dashboards/hostpulse.yaml").read_text())["providers"]


@pytest.mark.parametrize("name", list(SERVICES))
def test_a_service_names_what_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    for volume in service.get("volumes", []):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists()
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    assert "build" in service or ":" in service["image"]  # no image that changes by itself
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    if "build" in service and "entrypoint" not in service:
        assert service["command"][0] in commands


def test_the_image_is_built_of_files_that_are_there() -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            for source in line.split()[1:-1]:
                assert (CHECKOUT / source).exists()


def test_the_image_has_the_page_of_its_own_checkout() -> None:
    steps = (DEPLOY / "Dockerfile").read_text().splitlines()
    page, wheel, installed = (
        next(number for number, step in enumerate(steps) if step.startswith(begin))
        for begin in ("RUN python web/build.py", "RUN pip wheel", "COPY --from=build /build/dist")
    )

    assert page < wheel < installed
    assert "api/static" in (CHECKOUT / ".dockerignore").read_text().splitlines()  # none of before


def test_grafana_reads_as_the_role_that_may_only_read() -> None:
    assert SOURCE["type"] == PLUGIN
    assert SOURCE["user"] == reader.ROLE
    assert SOURCE["jsonData"]["timescaledb"] is True
    assert SOURCE["jsonData"]["maxOpenConns"] < reader.CONNECTIONS_MAX
    assert SOURCE["jsonData"]["timeInterval"] == SHORTEST
    file = SOURCE["secureJsonData"]["password"].removeprefix("$__file{").removesuffix("}")
    (script,) = SERVICES["setup"]["command"]
    assert f"> {file}\n" in script
    given = SERVICES["grafana"]["environment"]
    for value in (SOURCE["url"], SOURCE["jsonData"]["sslmode"]):
        assert value.removeprefix("$__env{").removesuffix("}") in given


def test_grafana_finds_the_dashboards() -> None:
    mounted = dict(each.split(":")[1::-1] for each in SERVICES["grafana"]["volumes"])
    folder = DEPLOY / mounted[PROVIDER["options"]["path"]]
    assert {json.loads(file.read_text())["uid"] for file in folder.glob("*.json")} == {
        "hostpulse-main",
        "hostpulse-server",
    }
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (folder / home.name).is_file()
