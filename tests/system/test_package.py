"""Wheel and sdist bring the page along, and a gateway that runs from the wheel serves it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import free_port, until
from tests.e2e.system import get

CHECKOUT = Path(__file__).parents[2]
BUILT = CHECKOUT / "api/static"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in which both were made."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, timeout=60)
    return folder


def test_both_have_every_file_of_the_page(made):
    page = {str(each.relative_to(CHECKOUT)) for each in BUILT.rglob("*") if each.is_file()}
    (wheel,), (sdist,) = made.glob("*.whl"), made.glob("*.tar.gz")

    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as tar:
        in_wheel = set(archive.namelist())
        in_sdist = {name.partition("/")[2] for name in tar.getnames()}

    assert "api/static/index.html" in page
    assert page <= in_wheel
    assert page <= in_sdist
    assert "deploy/Dockerfile" in in_sdist
    assert not [name for name in in_wheel | in_sdist if "node_modules" in name]


def test_gateway_of_the_wheel_serves_the_page(made, ground, empty, tmp_path):
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    port = free_port()
    ground.start(
        "gateway-of-the-wheel",
        [sys.executable, "-P", "-m", "cli", "gateway"],
        ground.environment(
            PYTHONPATH=tmp_path / "installed",
            HOSTPULSE_DATABASE_URL=empty.dsn,
            HOSTPULSE_DATA_DIR=tmp_path / "data",
            HOSTPULSE_GRPC_LISTEN=f"127.0.0.1:{free_port()}",
            HOSTPULSE_HTTP_LISTEN=f"127.0.0.1:{port}",
        ),
    )
    url = f"http://127.0.0.1:{port}"
    until(lambda: get(f"{url}/readyz")[0] == 200, within_s=60, what="a gateway that is ready")

    page = httpx.get(url)
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    answers = [httpx.get(url + each) for each in assets]

    assert page.status_code == 200
    assert len(assets) == 2
    assert [(each.status_code, each.content) for each in answers] == [
        (200, (tmp_path / "installed/api/static" / each[1:]).read_bytes()) for each in assets
    ]
