"""Who is on the other side: which address, and what counts as one."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


def host_of(peer: str) -> str:
    """Return a gRPC peer (`ipv4:10.0.0.9:51234`) without its port, which is new each time."""
    return peer.rpartition(":")[0] or peer


def network_of(address: str) -> str:
    """Return what counts as one address: with IPv6, all that one customer usually has (a /64).

    Args:
        address: of HTTP, or a gRPC peer without its port (`ipv4:10.0.0.9`, `ipv6:[::1]`).
    """
    host = unquote(address).removeprefix("ipv4:").removeprefix("ipv6:").strip("[]")
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(parsed, ipaddress.IPv4Address):
        return host
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
