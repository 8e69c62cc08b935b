"""Ports of 127.0.0.1 for servers of tests, in several processes at once."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below Linux's ephemeral ports: an agent that knocks at a closed ephemeral port may be given that
# very port as its own and so connect to itself, and then nobody can listen there.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port")
