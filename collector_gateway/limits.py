"""How fast anybody may go on this gateway: one token bucket for each key, address or server.

Every gateway process counts for itself. Defaults are far above what a fleet needs, also when all of
it comes back at once behind one address; they keep one abuser from starving the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from collector_gateway.addresses import network_of
from collector_gateway.buckets import Buckets, Limited, Rate
from collector_gateway.holding import Holding
from collector_gateway.logins import Logins

if TYPE_CHECKING:
    from hostpulse.clock import Clock

BURST_S = 10.0  # how many seconds' worth of a rate may come at once
STREAMS_OF_ADDRESS = Rate(per_s=500.0, burst=5_000)  # a fleet behind one address, all at once
STREAMS_OF_SERVER = Rate(per_s=0.5, burst=20)  # two agents under one name, or one that flaps
MESSAGE_MIN_BYTES = 256  # what a small message costs is not its bytes
VERDICT_MIN_BYTES = 32 * 1024  # each is an event, under the lock that changes of config wait for
SAMPLE_MIN_BYTES = 32  # nor what a row costs: those of a full tick take about as much
STREAMS_MAX = 20_000  # open at once on this gateway
STREAMS_MAX_CONNECTION = 4  # an agent has one; who resets them without pause has no more either


class Limits:
    """The buckets of a gateway.

    Args:
        requests_per_s: HTTP requests of a key; an address may make four times as many.
        server_bytes_per_s: of a server, over gRPC; beyond, its stream is read no faster.
        clock: its monotonic side.
    """

    def __init__(self, *, requests_per_s: float, server_bytes_per_s: float, clock: Clock) -> None:
        self._requests_of_key = Buckets(_of(requests_per_s), clock=clock)
        self._requests_of_address = Buckets(_of(4 * requests_per_s), clock=clock)
        self._bytes_of_server = Buckets(_of(server_bytes_per_s), clock=clock)
        self.logins = Logins(clock=clock)
        self.holding = Holding()
        self._streams_of_address = Buckets(STREAMS_OF_ADDRESS, clock=clock)
        self._streams_of_server = Buckets(STREAMS_OF_SERVER, clock=clock)

    def admit_request(self, address: str) -> None:
        """Count an HTTP request of an address.

        Raises:
            Limited: there were too many.
        """
        _admit(self._requests_of_address, network_of(address), "requests of this address")

    def admit_request_of(self, actor: str) -> None:
        """Count an HTTP request of a key or token.

        Raises:
            Limited: there were too many.
        """
        _admit(self._requests_of_key, actor, "requests with this key")

    def admit_call(self, address: str) -> None:
        """Count a gRPC call of an address.

        Raises:
            Limited: there were too many.
        """
        _admit(self._streams_of_address, network_of(address), "streams of this address")

    def admit_stream(self, server_name: str) -> None:
        """Count a stream that opens for a server.

        Raises:
            Limited: there were too many.
        """
        _admit(self._streams_of_server, server_name, "streams of this server")

    def charge_message(self, server_name: str, weight_bytes: int) -> float:
        """Count a message of a server; return for how many seconds not to read on."""
        return self._bytes_of_server.charge(server_name, weight_bytes)

    def admit_post(self, server_name: str, weight_bytes: int) -> None:
        """Count what is posted for a server; one that has gone too far already is refused.

        Raises:
            Limited: there was too much before.
        """
        if (after_s := self._bytes_of_server.peek(server_name)) > 0:
            raise _too_many("samples of this server", after_s)
        self._bytes_of_server.charge(server_name, weight_bytes)


def weigh(size_bytes: int, samples: int, *, is_verdict: bool = False) -> int:
    """Return as how many bytes of a server a message counts; a verdict is one on a config."""
    least = VERDICT_MIN_BYTES if is_verdict else MESSAGE_MIN_BYTES
    return max(size_bytes, samples * SAMPLE_MIN_BYTES, least)


def _of(per_s: float) -> Rate:
    """Make a rate with its burst."""
    return Rate(per_s=per_s, burst=per_s * BURST_S)


def _admit(buckets: Buckets, caller: str, what: str) -> None:
    """Take a token.

    Raises:
        Limited: there is none.
    """
    if (after_s := buckets.take(caller)) > 0:
        raise _too_many(what, after_s)


def _too_many(what: str, after_s: float) -> Limited:
    """Say of what there was too much, and when to come again."""
    return Limited(f"too many {what}: come again in {math.ceil(after_s)} s", after_s=after_s)
