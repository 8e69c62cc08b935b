from __future__ import annotations

import pytest

from collector_gateway.addresses import host_of, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.9", "10.0.0.9"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.9:51234", "10.0.0.9"),
        ("ipv6:%5B2001:db8::1%5D:1", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("x", "x"),
    ],
)
def test_a_peer_is_known_by_its_address_alone(peer, host):
    assert host_of(peer) == host
