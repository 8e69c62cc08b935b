"""`python -m cli`, which the supervisor starts its children with."""

from __future__ import annotations

import sys

from cli.main import main

sys.exit(main())
