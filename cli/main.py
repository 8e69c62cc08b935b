"""The hostpulse command.

`hostpulse agent` and `hostpulse up` are told apart before anything else is imported: the one must
work where only the agent is installed, and both must stay small.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["agent"]:
        from agent.__main__ import main as run_agent

        return run_agent(arguments[1:])
    if arguments == ["up"]:
        from cli.up import main as run_up

        return run_up()
    try:
        from cli.commands import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in {"typer", "asyncpg", "rich"}:
            raise
        sys.stderr.write(
            "hostpulse: only the agent is installed here, and this command needs more: "
            "pip install 'hostpulse[server]'\n"
        )
        return 2
    return run()
