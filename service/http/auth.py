"""Authentication by API key (`Authorization: Bearer`), and what a key's scopes allow."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Final, NamedTuple

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis as AsyncRedis
from structlog.contextvars import bind_contextvars

from panoweave.core.infra.api_keys import (
    ApiKey,
    ApiKeys,
    Scope,
    has_anonymous_mode_ended,
    has_ended,
)
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.urls import is_loopback
from panoweave.core.jobs.record import DEFAULT_TENANT
from panoweave.service.dependencies import Context, ContextDep
from panoweave.service.http.errors import Forbidden, Unauthorized
from panoweave.service.http.rate_limits import SAFE_METHODS, count_request

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="An API key, as `panoweave keys create` shows it. Not needed in anonymous mode, as "
    "in `panoweave up`, until the first key is made.",
)

_NO_KEY: Final = "Send Authorization: Bearer and an API key."


class Caller(NamedTuple):
    tenant: str
    key_id: str | None  # of the API key; None for an anonymous caller


class UnsafeBind(ValueError):
    """The API would be open to everyone who can reach this machine."""


def check_bind(settings: Settings, api_keys: ApiKeys) -> None:
    """Raises UnsafeBind if the API would listen beyond loopback without API keys."""
    if is_loopback(settings.host) or settings.anonymous == "everywhere":
        return
    if settings.anonymous == "loopback":
        raise UnsafeBind(
            f"PANOWEAVE_HOST={settings.host}: with PANOWEAVE_ANONYMOUS=loopback the API serves "
            "loopback only; set it to `off` to ask for API keys, or to `everywhere` to ask nobody"
        )
    if not api_keys.any():
        raise UnsafeBind(
            f"PANOWEAVE_HOST={settings.host}: without API keys the API serves loopback only; make "
            "one with `panoweave keys create --tenant NAME`, or use 127.0.0.1"
        )


def may_be_anonymous(settings: Settings) -> bool:
    """Whether nobody needs a key before the first one is made."""
    if settings.anonymous == "loopback":
        return is_loopback(settings.host)
    return settings.anonymous == "everywhere"


def find_key(context: Context, credentials: HTTPAuthorizationCredentials | None) -> ApiKey | None:
    """The caller's key; None for an anonymous caller. Raises Unauthorized or StoreUnavailable."""
    if credentials is None:
        # The mode is a setting: neither a revoked key nor an emptied Redis switches it on.
        if may_be_anonymous(context.settings) and not context.api_keys.was_one_made():
            return None
        raise Unauthorized(_NO_KEY)
    key = context.api_keys.find(credentials.credentials)
    if key is None:
        raise Unauthorized("This API key has expired, is not known, or was revoked.")
    return key


CredentialsDep = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def authenticate(
    request: Request, context: ContextDep, credentials: CredentialsDep
) -> ApiKey | None:
    """As `find_key`, once for each request, which counts against the tenant's rate limit."""
    if not hasattr(request.state, "api_key"):
        if credentials is None and not may_be_anonymous(context.settings):
            raise Unauthorized(_NO_KEY)  # here, as a thread costs more than the refusal
        found = await run_in_threadpool(find_key, context, credentials)
        await count_request(request, context, found.tenant if found else DEFAULT_TENANT)
        request.state.api_key = found
        request.state.key_id = found and found.id
    key: ApiKey | None = request.state.api_key
    return key


AuthenticatedKey = Annotated[ApiKey | None, Depends(authenticate)]


# Not a plain function: FastAPI would run it in a thread, and the log context would stay there.
async def _caller(request: Request, key: AuthenticatedKey) -> Caller:
    bind_contextvars(tenant=key.tenant if key else DEFAULT_TENANT)
    if key is None:
        return Caller(DEFAULT_TENANT, None)
    require_scope(key, "read" if request.method in SAFE_METHODS else "write")
    return Caller(key.tenant, key.id)


def _operator(key: AuthenticatedKey) -> None:
    if key is not None:
        require_scope(key, "admin")


def _scaler(key: AuthenticatedKey) -> None:
    if key is not None:
        require_scope(key, "scaling")


def _admin(key: AuthenticatedKey) -> None:
    if key is None:
        raise Unauthorized(
            "Send a key of scope admin. `panoweave keys create --scope admin` makes the first one."
        )
    require_scope(key, "admin")


def require_scope(key: ApiKey, scope: Scope) -> None:
    if not key.may(scope):
        raise Forbidden(f"This API key lacks the scope {scope}.")


async def raise_if_revoked(request: Request, redis: AsyncRedis) -> None:
    """For requests that stay open. Raises Unauthorized once the caller's key is revoked or has
    expired, or the key that made the caller's token; of an anonymous caller, once the first key is
    made."""
    key_id: str | None = request.state.key_id
    with suppress(StoreUnavailable):  # asked again after the next wait
        if not key_id:
            if await has_anonymous_mode_ended(redis):
                raise Unauthorized(_NO_KEY)
        elif await has_ended(redis, key_id):
            raise Unauthorized("This API key has expired, or was revoked.")


CallerDep = Annotated[Caller, Depends(_caller)]
OperatorOnly = Depends(_operator)
"""For routes that show data of all tenants: needs the scope `admin`."""
AdminOnly = Depends(_admin)
"""For what changes other tenants' data: not open to anonymous callers either."""
ScalerOnly = Depends(_scaler)
"""For what adds and removes workers: needs the scope `scaling`."""


ViewToken = Annotated[
    str | None,
    Query(
        description="A token of `POST /tokens`, in place of `Authorization`.",
        examples=["pwv_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ),
]


async def _viewer(
    request: Request, context: ContextDep, credentials: CredentialsDep, token: ViewToken = None
) -> str:
    """The tenant, by API key or by a token in the URL."""
    if token is None or credentials is not None:
        key = await authenticate(request, context, credentials)
        return (await _caller(request, key)).tenant
    holder = await run_in_threadpool(context.view_tokens.find, token)
    if holder is not None and not holder.key_id:  # of an anonymous caller: is one still let in?
        await run_in_threadpool(find_key, context, None)
    if holder is None:
        raise Unauthorized("This token is not known, or has expired.")
    await count_request(request, context, holder.tenant)
    request.state.key_id = holder.key_id
    bind_contextvars(tenant=holder.tenant)
    return holder.tenant


ViewerDep = Annotated[str, Depends(_viewer)]
"""The tenant, on routes that a browser opens by itself."""


def _tenant(caller: CallerDep) -> str:
    return caller.tenant


TenantDep = Annotated[str, Depends(_tenant)]
