"""Where webhooks may be sent: never to this machine, its neighbours or a cloud's metadata service.

`TargetRules.check` looks at a URL when a job is posted, as a courtesy to the caller. What counts is
`TargetRules.permits`, which the sender asks about every address that the host resolves to, at each
try.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from panoweave.core.infra.addresses import embeds_ipv4, is_public, parse_networks
from panoweave.core.infra.settings import Settings

MAX_URL_CHARS: Final = 2_048


class BadTarget(ValueError):
    def __init__(self, problem: str, legal: str) -> None:
        super().__init__(f"{problem}; legal: {legal}")
        self.problem = problem
        self.legal = legal


@dataclass(frozen=True)
class TargetRules:
    """What an operator allows beside public hosts over https."""

    networks: str | None = None  # private networks, with commas between them
    http: bool = False
    test_targets: bool = False  # any address, over http too

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.webhook_networks, settings.webhook_http, settings.webhook_test_targets)

    @property
    def schemes(self) -> tuple[str, ...]:
        return ("https", "http") if self.http or self.test_targets else ("https",)

    def permits(self, address: str) -> bool:
        """Whether a connection may be made to this IP address."""
        if self.test_targets:
            return True
        parsed = ipaddress.ip_address(address)
        if embeds_ipv4(parsed):
            return False  # even in an allowed network: nobody can say where it ends up
        allowed = any(parsed in network for network in parse_networks(self.networks))
        return allowed or is_public(parsed)

    def check(self, url: str) -> None:
        """Raises BadTarget if the URL alone shows that nothing is ever sent there."""
        legal = f"{self.schemes[0]}://host/path, without user, password or fragment"
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise BadTarget("is no URL", legal) from error
        if not url.isascii() or any(each.isspace() for each in url):
            raise BadTarget("holds characters that a URL does not", legal)
        if parts.scheme not in self.schemes:
            raise BadTarget(f"is not {' or '.join(self.schemes)}", legal)
        if not host or parts.username is not None or parts.password is not None or parts.fragment:
            raise BadTarget("is not a plain host and path", legal)
        if not self.test_targets and not self._may_be_permitted(host):
            raise BadTarget("is an address that webhooks are never sent to", "a public host")

    def _may_be_permitted(self, host: str) -> bool:
        """True for names: what they resolve to is checked when the webhook is sent."""
        try:
            return self.permits(host)
        except ValueError:
            return not (host == "localhost" or host.endswith(".localhost"))
