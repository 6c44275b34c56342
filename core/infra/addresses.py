"""Which IP addresses are public, and which private networks an operator may allow.

The ranges are those of `microsoft-antissrf`, which follows IANA's registries and the clouds'
metadata services.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from AntiSSRF import IPAddressRanges

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 addresses that carry an IPv4 address: a gateway on the way may deliver to that one.
EMBEDDED_IPV4: Final[dict[str, Network]] = {
    "IPv4-compatible": ipaddress.ip_network("::/96"),
    "IPv4-mapped": ipaddress.ip_network("::ffff:0:0/96"),
    "IPv4-translated": ipaddress.ip_network("::ffff:0:0:0/96"),
    "NAT64": ipaddress.ip_network("64:ff9b::/96"),
    "NAT64 of a local network": ipaddress.ip_network("64:ff9b:1::/48"),
    "6to4": ipaddress.ip_network("2002::/16"),
    "Teredo": ipaddress.ip_network("2001::/32"),
}
# ISATAP embeds in the interface identifier, under any prefix: 0000:5efe or 0200:5efe before it.
_ISATAP: Final = 0x5EFE
_ISATAP_MASK: Final = 0xFDFFFFFF

_NOT_PUBLIC: Final = [ipaddress.ip_network(text) for text in IPAddressRanges.recommended_latest]
_PRIVATE: Final = [
    ipaddress.ip_network(text)
    for text in (
        *IPAddressRanges.private_use,
        *IPAddressRanges.unique_local,
        *IPAddressRanges.shared_address_space,
    )
]
# Metadata services within those ranges: Alibaba's, and AWS's over IPv6.
_METADATA: Final = [ipaddress.ip_network(text) for text in ("100.100.100.200", "fd00:ec2::254")]


def embeds_ipv4(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return False
    is_isatap = int(address) >> 32 & _ISATAP_MASK == _ISATAP
    return is_isatap or any(address in network for network in EMBEDDED_IPV4.values())


def is_public(address: Address) -> bool:
    """Python's own tables must agree, too: either may know a range that the other lacks."""
    in_no_range = not any(address in network for network in _NOT_PUBLIC)
    is_global = address.is_global and not address.is_multicast
    return in_no_range and is_global and not embeds_ipv4(address)


def parse_networks(text: str | None) -> list[Network]:
    """Networks with commas between them. Raises ValueError."""
    try:
        return [
            ipaddress.ip_network(each.strip()) for each in (text or "").split(",") if each.strip()
        ]
    except ValueError as error:
        raise ValueError(f"{error}; legal: networks such as 10.1.0.0/16, with commas") from error


def check_private(networks: str | None) -> None:
    """Raises ValueError unless every network is private and holds no metadata service."""
    for network in parse_networks(networks):
        if not any(_is_within(network, private) for private in _PRIVATE):
            raise ValueError(f"{network} is not private: public addresses need no allowance")
        if metadata := next((each for each in _METADATA if _is_within(each, network)), None):
            raise ValueError(f"{network} holds {metadata}, a metadata service")


def _is_within(network: Network, wider: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(wider, ipaddress.IPv4Network) and network.subnet_of(wider)
    return isinstance(wider, ipaddress.IPv6Network) and network.subnet_of(wider)
