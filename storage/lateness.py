"""The one chain of how old a sample may be.

    spool age <= accept late < refresh from < raw retention - 1 chunk

Refreshing a region whose raw data was dropped would erase its rollups.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

SPOOL_MAX_AGE = timedelta(hours=24)
ACCEPT_LATE = timedelta(days=6)
REFRESH_FROM = timedelta(days=6, hours=12)
RAW_CHUNK = timedelta(hours=4)  # of hypertables; one chain for both engines, so that both can move
RAW_RETENTION = timedelta(days=7)  # unless set otherwise: retention.py
ACCEPT_EARLY = timedelta(minutes=10)  # HTTP only: agents' clocks are corrected instead


def broken_rule(raw_retention: timedelta) -> str | None:
    """Name the rule of the chain that this retention of raw samples would break, with its values.

    Returns None where the chain holds.
    """
    links = (
        ("spool age", SPOOL_MAX_AGE),
        ("accept late", ACCEPT_LATE),
        ("refresh from", REFRESH_FROM),
        ("raw retention - 1 chunk", raw_retention - RAW_CHUNK),
    )
    for (name, age), (next_name, next_age) in pairwise(links):
        if age > next_age or (age == next_age and name != "spool age"):
            sign = "<=" if name == "spool age" else "<"
            return f"{name} {sign} {next_name}, but {name} is {age} and {next_name} is {next_age}"
    return None
