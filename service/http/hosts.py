"""Middleware that refuses requests for other hosts: a defence against DNS rebinding.

A page of another origin can point its own host name at this server's address. Its requests are of
the same origin then, for a browser, but their `Host` is the page's.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from panoweave.core.infra.settings import Settings
from panoweave.core.infra.urls import is_loopback
from panoweave.service.http.errors import WrongHost

_ANY: Final = "*"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# An orchestrator asks these by the address of a container.
_PROBES: Final = frozenset({"/livez", "/readyz"})


def allowed_hosts(settings: Settings) -> frozenset[str]:
    if settings.allowed_hosts is not None:
        names = (name.strip().lower() for name in settings.allowed_hosts.split(","))
        return frozenset(name.strip("[]") for name in names if name)
    return frozenset((*_LOOPBACK, settings.host) if is_loopback(settings.host) else (_ANY,))


class AllowedHosts:
    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(scope):
            error = WrongHost(
                "Its Host is not one of this server's: PANOWEAVE_ALLOWED_HOSTS lists them.",
                headers={"Connection": "close"},
            )
            await error.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if _ANY in self._allowed or scope["path"] in _PROBES:
            return True
        names = [
            _name(value.decode("latin-1")) for key, value in scope["headers"] if key == b"host"
        ]
        return len(names) == 1 and names[0] in self._allowed


def _name(host: str) -> str:
    """Without the port: `localhost:8000` and `[::1]:8000` have one."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
