"""Which texts can be kept."""

from __future__ import annotations

import re

_ODD = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether a database takes it: JSON may bring a NUL, and half of a surrogate pair."""
    return _ODD.search(text) is None
