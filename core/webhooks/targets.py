"""Where webhooks may go: never to this machine, its neighbours or a cloud's metadata service,
whatever name or notation leads there.

What is checked when a job is posted is a courtesy to its caller. What counts is the policy, which
`microsoft-antissrf` enforces on every address that a name resolves to, at each try.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from AntiSSRF import AntiSSRFPolicy, IPAddressRanges, PolicyConfigOptions

MAX_URL_CHARS: Final = 2_048

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PRIVATE: Final = [
    ipaddress.ip_network(text)
    for text in (
        *IPAddressRanges.private_use,
        *IPAddressRanges.unique_local,
        *IPAddressRanges.shared_address_space,
    )
]
# Metadata services within those ranges: Alibaba's and AWS's over IPv6.
_NEVER: Final = [ipaddress.ip_network(text) for text in ("100.100.100.200", "fd00:ec2::254")]


class BadTarget(ValueError):
    def __init__(self, problem: str, legal: str) -> None:
        super().__init__(f"{problem}; legal: {legal}")
        self.problem = problem
        self.legal = legal


def check_networks(networks: str | None) -> None:
    """Raises ValueError unless all are private, and hold no metadata service."""
    for network in _networks(networks):
        if not any(_within(network, private) for private in _PRIVATE):
            raise ValueError(f"{network} is not private: public addresses need no allowance")
        if metadata := next((each for each in _NEVER if _overlap(network, each)), None):
            raise ValueError(f"{network} holds {metadata}, a metadata service")


@dataclass(frozen=True)
class TargetRules:
    """What an operator allows beside public hosts over https."""

    networks: str | None = None  # private ones, with commas
    http: bool = False
    test_targets: bool = False  # any address, over http too

    def policy(self) -> AntiSSRFPolicy:
        """What is enforced at each try."""
        none, external = PolicyConfigOptions.NONE, PolicyConfigOptions.EXTERNAL_ONLY_LATEST
        policy = AntiSSRFPolicy(none if self.test_targets else external)
        policy.add_xff_header = False
        policy.allow_plain_text_http = self.http or self.test_targets
        if self.networks and not self.test_targets:
            policy.add_allowed_addresses([str(network) for network in _networks(self.networks)])
        return policy

    def check(self, url: str) -> None:
        """Raises BadTarget where the URL alone shows that nothing is ever sent there."""
        schemes = ("https", "http") if self.http or self.test_targets else ("https",)
        legal = f"{schemes[0]}://host/path, without user, password or fragment"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise BadTarget("is no URL", legal) from error
        if not url.isascii() or any(each.isspace() for each in url):
            raise BadTarget("holds characters that a URL does not", legal)
        if parts.scheme not in schemes:
            raise BadTarget(f"is not {' or '.join(schemes)}", legal)
        if not host or parts.username is not None or parts.password is not None or parts.fragment:
            raise BadTarget("is not a plain host and path", legal)
        if not self.test_targets and not self._may_be(host):
            raise BadTarget("is an address that webhooks are never sent to", "a public host")

    def _may_be(self, host: str) -> bool:
        """True for names: what they lead to is looked at when it is sent."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return not (host == "localhost" or host.endswith(".localhost"))
        allowed = any(address in network for network in _networks(self.networks))
        return allowed or (address.is_global and not address.is_multicast)


def _networks(text: str | None) -> list[_Network]:
    try:
        return [
            ipaddress.ip_network(each.strip()) for each in (text or "").split(",") if each.strip()
        ]
    except ValueError as error:
        raise ValueError(f"{error}; legal: networks such as 10.1.0.0/16, with commas") from error


def _within(network: _Network, wider: _Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(wider, ipaddress.IPv4Network) and network.subnet_of(wider)
    return isinstance(wider, ipaddress.IPv6Network) and network.subnet_of(wider)


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)
