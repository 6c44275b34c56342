"""POST /tokens: a short-lived token for URLs that a browser opens by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Response, status

from panoweave.core.infra.view_tokens import TTL_S, TokenHolder
from panoweave.core.jobs.record import DEFAULT_TENANT
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import AuthenticatedKey, require_scope
from panoweave.service.http.errors import JobStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import CACHE_CONTROL
from panoweave.service.schemas import TokenView

router = APIRouter(tags=["panoramas"])


@router.post(
    "/tokens",
    status_code=status.HTTP_201_CREATED,
    responses={
        201: answer("A new token.", shows=("token",), always=(CACHE_CONTROL,)),
        **refusals(JobStoreUnavailable),
    },
)
def create_token(context: ContextDep, key: AuthenticatedKey, response: Response) -> TokenView:
    """Create a token for `EventSource` and `<img>`, which cannot send an API key.

    It reads the tenant's panoramas for a few minutes, as `?token=` of `events`, `image` and
    `preview`. A key of scope `read` may create one. It ends with the key.
    """
    if key is None:
        holder = TokenHolder(DEFAULT_TENANT, "")
    else:
        require_scope(key, "read")
        holder = TokenHolder(key.tenant, key.id)
    response.headers["Cache-Control"] = "no-store"
    ttl_s = TTL_S
    if key is not None and key.expires_at is not None:  # it ends with the key
        left_s = (key.expires_at - datetime.now(UTC)).total_seconds()
        ttl_s = max(1, min(TTL_S, int(left_s)))
    return TokenView(token=context.view_tokens.create(holder, ttl_s), expires_in_s=ttl_s)
