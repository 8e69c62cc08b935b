"""The one chain of how old a sample may be.

    spool age <= accept late < refresh from < raw retention - 1 chunk

Refreshing a region whose raw data was dropped would erase its rollups.
"""

from __future__ import annotations

from datetime import timedelta

SPOOL_MAX_AGE = timedelta(hours=24)
ACCEPT_LATE = timedelta(days=6)
REFRESH_FROM = timedelta(days=6, hours=12)
RAW_RETENTION = timedelta(days=7)
ACCEPT_EARLY = timedelta(minutes=10)  # HTTP only: agents' clocks are corrected instead
