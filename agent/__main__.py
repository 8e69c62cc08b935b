"""The agent's process: `hostpulse agent`, or `python -m agent`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent import app, journal, settings, sources
from hostpulse import errors, lifecycle, logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.enrolling import EnrollmentSettings

CLEAN, CRASHED, WRONG_CONFIG = 0, 1, 2
END_WITHIN_S = 4.8  # of the stop, whatever hangs

log = logging.getLogger("agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until SIGINT or SIGTERM; return its exit status.

    0 is a clean end, 1 a crash (its traceback is logged), 2 a wrong setting, or a token that is
    refused (one line on stderr).
    """
    try:
        arguments = sys.argv[1:] if argv is None else argv
        wanted = settings.load_enrollment(arguments, os.environ)
        if wanted is not None:
            logs.configure(wanted.log)
            if not asyncio.run(_enroll(wanted)):
                return CLEAN
        chosen = settings.load(arguments, os.environ)
        logs.configure(chosen.log)
        asyncio.run(_serve(chosen))
    except (errors.ConfigError, errors.Permanent, sources.UsageError) as error:
        sys.stderr.write(f"hostpulse agent: {error}\n")
        return WRONG_CONFIG
    except Exception:
        log.critical("agent_crashed", exc_info=True)
        return CRASHED
    return CLEAN


async def _enroll(wanted: EnrollmentSettings) -> bool:
    from agent import enrolling  # most starts have no token

    async with lifecycle.until_signalled(end_within_s=END_WITHIN_S) as stop:
        return await enrolling.enroll(wanted, stop)


async def _serve(chosen: settings.AgentSettings) -> None:
    side_file = os.environ.get(journal.VARIABLE)
    async with lifecycle.until_signalled(end_within_s=END_WITHIN_S) as stop:
        await app.run(chosen, stop, journal=Path(side_file) if side_file else None)


if __name__ == "__main__":
    sys.exit(main())
