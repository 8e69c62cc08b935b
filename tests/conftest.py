"""What every test stands on: a clean environment, its databases, and its place among workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.postgres", "tests.timescale.fixtures", "tests.timescale.clients"]

HERE = Path(__file__).parent
TEST_DATABASE_URL = "HOSTPULSE_TEST_DATABASE_URL"  # a TimescaleDB to test on
for name in [n for n in os.environ if n.startswith("HOSTPULSE_") and n != TEST_DATABASE_URL]:
    del os.environ[name]  # a developer's settings must not reach the tests


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one worker what would disturb each other, or costs much to have twice."""
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))


def group_of(item: pytest.Item) -> str | None:
    """Return whose company a test needs; None: it runs wherever there is room."""
    if item.path.is_relative_to(HERE / "e2e"):
        return "e2e"  # whole systems, with promises about time: one at a time
    parameters = getattr(item, "callspec", None)
    asked = [
        *getattr(item, "fixturenames", ()),
        *(parameters.params.values() if parameters else ()),
    ]
    if any(isinstance(name, str) and name.startswith("timescale") for name in asked):
        return "timescale"  # half a gigabyte of WebAssembly: once
    return None
