"""Write the dashboards, or fail where those in the tree are older than what makes them.

python -m dashboards [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import table
from grafana_foundation_sdk.models.dashboard import Panel

from dashboards import main, server

FOLDER = Path(__file__).parent / "grafana"


def render() -> dict[str, str]:
    """Return the text of each file by its name."""
    boards = {"main.json": main.build(), "server.json": server.build()}
    encoder = JSONEncoder(indent=2, sort_keys=True)
    texts: dict[str, str] = {}
    for name, board in boards.items():
        built = board.build()
        for number, panel in enumerate(built.panels or [], start=1):
            panel.id_val = number  # links and annotations of people refer to it
            if isinstance(panel, Panel) and isinstance(panel.options, table.Options):
                panel.options.footer = None  # the SDK's own default, which Grafana 12 has no more
        for variable in built.templating.list_val or []:
            # Defaults of the SDK that belong to variables of another kind.
            variable.auto = variable.auto_min = variable.auto_count = None
        texts[name] = encoder.encode(built) + "\n"
    return texts


def run(arguments: list[str]) -> int:
    """Write, or with `--check` compare; returns the exit status."""
    texts = render()
    if arguments == ["--check"]:
        stale = [
            name
            for name, text in texts.items()
            if not (FOLDER / name).is_file() or (FOLDER / name).read_text("utf-8") != text
        ]
        for name in stale:
            sys.stderr.write(f"dashboards/grafana/{name} is stale: run 'make dashboards'\n")
        return 1 if stale else 0
    if arguments:
        sys.stderr.write(f"dashboards: expected --check or nothing, got {' '.join(arguments)}\n")
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
