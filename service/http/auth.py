"""Whose request it is: `Authorization: Bearer`, once there are API keys."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

from panoweave.core.infra.api_keys import ApiKey, ApiKeys, Scope
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import DEFAULT_TENANT
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.errors import Forbidden, Unauthorized

_READING: Final = frozenset({"GET", "HEAD"})
_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="An API key, as `panoweave keys create` shows it. Not needed on loopback as long "
    "as there are no keys.",
)


class Caller(NamedTuple):
    tenant: str
    owner: str  # of idempotency keys


class UnsafeBind(ValueError):
    """The API would be open to whoever reaches this machine."""


def check_bind(settings: Settings, api_keys: ApiKeys) -> None:
    """Before the API listens: beyond loopback it needs keys. Raises UnsafeBind."""
    if not is_loopback(settings.host) and not api_keys.any():
        raise UnsafeBind(
            f"PANOWEAVE_HOST={settings.host}: without API keys the API serves loopback only; make "
            "one with `panoweave keys create --tenant NAME`, or use 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


CredentialsDep = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def authenticate(context: ContextDep, credentials: CredentialsDep) -> ApiKey | None:
    """None: whoever asks may, since there are no keys yet."""
    if credentials is None:
        # Were the last key revoked, an API that is open to others would stay closed to them.
        if is_loopback(context.settings.host) and not context.api_keys.any():
            return None
        raise Unauthorized("Send Authorization: Bearer and an API key.")
    key = context.api_keys.find(credentials.credentials)
    if key is None:
        raise Unauthorized("This API key is not known, or was revoked.")
    return key


async def _caller(request: Request, key: Annotated[ApiKey | None, Depends(authenticate)]) -> Caller:
    """Not in a thread of its own: what it binds is for the log of the whole request."""
    bind_contextvars(tenant=key.tenant if key else DEFAULT_TENANT)
    if key is None:
        return Caller(DEFAULT_TENANT, DEFAULT_TENANT)
    require(key, "read" if request.method in _READING else "write")
    return Caller(key.tenant, key.id)


def _operator(key: Annotated[ApiKey | None, Depends(authenticate)]) -> None:
    """For what concerns all tenants."""
    if key is not None:
        require(key, "admin")


def require(key: ApiKey, scope: Scope) -> None:
    if not key.may(scope):
        raise Forbidden(f"This API key lacks the scope {scope}.")


CallerDep = Annotated[Caller, Depends(_caller)]
ForOperators = Depends(_operator)


def _tenant(caller: CallerDep) -> str:
    return caller.tenant


TenantDep = Annotated[str, Depends(_tenant)]
