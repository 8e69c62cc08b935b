from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from api import failures, page

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = b"console.log('hello');"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page as vite builds it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>hostpulse</title>")
    asset = tmp_path / "assets/index-1a2b.js"
    asset.write_bytes(SCRIPT)
    asset.with_name(asset.name + ".gz").write_bytes(gzip.compress(SCRIPT))
    asset.with_name(asset.name + ".br").write_bytes(b"brotli")
    return tmp_path


def client(folder: Path) -> httpx.AsyncClient:
    app = FastAPI(openapi_url=None)
    failures.install(app)
    app.include_router(page.router(folder))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_page_lets_in_nothing_of_other_sites_and_nothing_inline(built: Path) -> None:
    async with client(built) as http:
        answer = await http.get("/")

    policy = dict(
        each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";")
    )
    assert answer.status_code == 200
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


async def test_page_that_did_not_change_is_not_sent_again(built: Path) -> None:
    async with client(built) as http:
        first = await http.get("/")
        again = await http.get("/", headers={"If-None-Match": first.headers["etag"]})

    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, br", "br", b"brotli"),
        ("gzip", "gzip", gzip.compress(SCRIPT)),
        ("identity", None, SCRIPT),
    ],
)
async def test_asset_is_sent_in_the_best_form_that_is_taken_and_kept_for_ever(
    built: Path, accepted: str, encoding: str | None, body: bytes
) -> None:
    async with (
        client(built) as http,
        http.stream(
            "GET", "/assets/index-1a2b.js", headers={"Accept-Encoding": accepted}
        ) as answer,
    ):
        sent = b"".join([chunk async for chunk in answer.aiter_raw()])

    assert answer.headers.get("content-encoding") == encoding
    assert len(sent) == len(body)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["/assets/other.js", "/assets/../index.html", "/assets/%2e%2e/a"])
async def test_what_was_not_built_is_not_found(built: Path, path: str) -> None:
    async with client(built) as http:
        answer = await http.get(path)

    assert answer.status_code == 404


async def test_page_that_is_not_built_says_so(tmp_path: Path) -> None:
    async with client(tmp_path / "missing") as http:
        answer = await http.get("/")

    assert answer.status_code == 503
    assert "make web" in answer.text
