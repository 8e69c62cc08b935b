from __future__ import annotations

import logging
import subprocess
import sys

import pytest

FAIL = """
import logging, sys
import structlog
from storage import logs

def fail():
    key = "hp_12345678_" + "".join(["se", "cret"])
    scope = {"headers": [(b"authorization", key.encode())]}
    raise ZeroDivisionError(len(scope))

logs.configure("info", sys.argv[1])
try:
    fail()
except ZeroDivisionError:
    structlog.get_logger().error("failed", exc_info=True)
    logging.getLogger("uvicorn.error").error("failed", exc_info=True)
"""


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_a_traceback_shows_no_values(fmt):
    done = subprocess.run(
        [sys.executable, "-c", FAIL, fmt], capture_output=True, text=True, timeout=30, check=True
    )

    assert done.stderr.count("ZeroDivisionError") >= 2
    assert "secret" not in done.stderr
    assert logging.getLevelName(logging.ERROR).lower() in done.stderr
