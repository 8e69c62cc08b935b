"""What every test stands on: a clean environment, its databases, and its place among workers."""

from __future__ import annotations

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.postgres", "tests.timescale.fixtures", "tests.timescale.clients"]

TEST_DATABASE_URL = "HOSTPULSE_TEST_DATABASE_URL"  # a TimescaleDB to test on
for name in [n for n in os.environ if n.startswith("HOSTPULSE_") and n != TEST_DATABASE_URL]:
    del os.environ[name]  # a developer's settings must not reach the tests


class Together(LoadScopeScheduling):
    """Whole files go to a worker; whole systems, which promise something about time, to one.

    xdist's own groups would say it in the tests, but xdist 3.8 loses them with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return "tests/e2e" if file.startswith("tests/e2e/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    return Together(config, log)
