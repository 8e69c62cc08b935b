"""Numbers as JSON and TOML give them."""

from __future__ import annotations

import math


def finite(value: object) -> float | None:
    """Return a number as a float; None for what is none: true, NaN, infinity, 10 to the 400th."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
