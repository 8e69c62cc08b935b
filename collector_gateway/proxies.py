"""The proxies that are believed when they say for whom they ask.

`X-Forwarded-For` is anybody's to write: believed from everywhere, or from all of this machine, it
would let one caller be as many addresses as it likes, and write any of them into the audit log.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxies:
    """Networks that only proxies of ours are in."""

    networks: tuple[Network, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.networks)

    def __contains__(self, host: str) -> bool:
        """Return whether an address is of a proxy."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def texts(self) -> list[str]:
        """Return the networks as uvicorn takes them."""
        return [str(network) for network in self.networks]


def parse(text: str) -> Proxies:
    """Read addresses and networks, with commas.

    Raises:
        ValueError: one of them is neither, or everybody.
    """
    networks: list[Network] = []
    for part in text.split(","):
        network = ipaddress.ip_network(part.strip())
        if not network.prefixlen:
            raise ValueError(f"{part.strip()} is everybody")
        networks.append(network)
        if isinstance(network, ipaddress.IPv4Network):  # as a listener for both kinds sees it
            mapped = f"::ffff:{network.network_address}/{96 + network.prefixlen}"
            networks.append(ipaddress.IPv6Network(mapped))
    return Proxies(tuple(networks))
