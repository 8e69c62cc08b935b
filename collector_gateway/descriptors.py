"""How many connections the process can hold: each is a file descriptor.

The usual soft limit, 1 024, is less than a fleet, and who opens that many takes the database and
the page down with it. So it is raised as far as one may, and agents' connections leave some over.
"""

from __future__ import annotations

import contextlib
import resource

from collector_gateway.limits import STREAMS_MAX

WANTED = 65_536
OTHERS = 1_000  # HTTP, the database, files; and agents that come while others go


def raise_limit() -> None:
    """Allow this process as many descriptors as it may have, and needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):  # a system that says no has its reasons
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def agents_connections() -> int:
    """Return how many connections the agents' port takes at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return STREAMS_MAX + OTHERS
    return min(STREAMS_MAX + OTHERS, max(soft - OTHERS, soft // 2))
