"""`hostpulse alerting`: run the alert worker until a signal."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from alerting import app, settings
from hostpulse import errors
from storage import logs
from storage.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

WRONG_CONFIG = 2  # also a database that does not fit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0 after a clean stop, 2 where a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="hostpulse alerting",
        description="Evaluates the rules and sends notifications. Settings come from HOSTPULSE_*.",
    )
    parser.add_argument("--database-url", help="instead of HOSTPULSE_DATABASE_URL")
    given = parser.parse_args(argv)
    try:
        chosen = settings.load(vars(given))
        logs.configure(chosen.log_level, chosen.log_format)
        asyncio.run(app.serve(chosen))
    except (errors.ConfigError, SchemaMismatch) as error:
        sys.stderr.write(f"hostpulse alerting: {error}\n")
        return WRONG_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
