from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_gateway_does_not_pay_for_what_only_migrates():
    program = (
        "import sys, cli.commands, cli.gateway, alerting.__main__\n"
        "sys.exit(' '.join({'alembic', 'sqlalchemy'} & set(sys.modules)) or None)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        timeout=30,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
