"""Who is on the other side: which address, and what counts as one."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


def host_of(peer: str) -> str:
    """Return the address of a gRPC peer, as HTTP has it; of another kind of socket the kind.

    Peers are `ipv4:10.0.0.9:51234`, `ipv6:%5B::1%5D:51234`, `unix:`.
    """
    host = unquote(peer).rpartition(":")[0] or peer
    return host.removeprefix("ipv4:").removeprefix("ipv6:").strip("[]")


def network_of(address: str) -> str:
    """Return what counts as one address: with IPv6, all that one customer usually has (a /64)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
