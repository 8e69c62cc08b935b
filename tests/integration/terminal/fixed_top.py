"""`hostpulse top` by a clock that stands still: python fixed_top.py TIME [--once] [SERVER]."""

from __future__ import annotations

import sys
from datetime import datetime

from cli.top import look

if __name__ == "__main__":
    moment, *arguments = sys.argv[1:]
    names = [each for each in arguments if each != "--once"]
    look(
        names[0] if names else None,
        once="--once" in arguments,
        every_s=0.5,
        clock=lambda: datetime.fromisoformat(moment),
    )
