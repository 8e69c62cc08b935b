"""`hostpulse alerting`: run the alert worker until a signal."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from alerting import app
from alerting.settings import Settings
from hostpulse import errors
from storage import logs

if TYPE_CHECKING:
    from collections.abc import Sequence

WRONG_CONFIG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0 after a clean stop, 2 where a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="hostpulse alerting",
        description="Evaluates the rules and sends notifications. Settings come from HOSTPULSE_*.",
    )
    parser.add_argument("--database-url", help="instead of HOSTPULSE_DATABASE_URL")
    given = parser.parse_args(argv)
    overrides = {"database_url": given.database_url} if given.database_url else {}
    try:
        settings = Settings.load(overrides)
        logs.configure(settings.log_level, settings.log_format)
        asyncio.run(app.serve(settings))
    except errors.ConfigError as error:
        sys.stderr.write(f"hostpulse alerting: {error}\n")
        return WRONG_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
