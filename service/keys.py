"""API keys over HTTP, for admin keys: created, listed and revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path, Response, status
from fastapi.openapi.models import Example

from panoweave.core.infra.api_keys import ApiKey
from panoweave.core.infra.errors import NoSuchKey
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import AdminOnly
from panoweave.service.http.errors import JobStoreUnavailable, KeyNotFound
from panoweave.service.key_schemas import (
    KEY_ID_PATTERN,
    KeyList,
    KeyRequest,
    KeyView,
    NewKeyView,
)
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import CACHE_CONTROL
from panoweave.service.tenant_names import check_tenant

router = APIRouter(prefix="/keys", tags=["admin"], dependencies=[AdminOnly])

_EXAMPLES: Final[dict[str, Example]] = {
    "usual": {
        "summary": "A key that makes and reads panoramas",
        "value": {"tenant": "ada", "scopes": ["write"], "label": "the shop's server"},
    },
    "bounded": {
        "summary": "A key that reads, for a day",
        "value": {"tenant": "ada", "scopes": ["read"], "expires_in": 86_400},
    },
}


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses={
        201: answer("The new key, with its token.", shows=("new_key",), always=(CACHE_CONTROL,)),
        **refusals(JobStoreUnavailable),
    },
)
def create_key(
    request: Annotated[KeyRequest, Body(openapi_examples=_EXAMPLES)],
    context: ContextDep,
    response: Response,
) -> NewKeyView:
    """Create an API key for a tenant. Needs a key of scope `admin`: the first one is made with
    `panoweave keys create`."""
    check_tenant(request.tenant)
    expires_at = None
    if request.expires_in is not None:
        expires_at = datetime.now(UTC) + timedelta(seconds=request.expires_in)
    key, token = context.api_keys.create(
        request.tenant, tuple(request.scopes), label=request.label, expires_at=expires_at
    )
    response.headers["Cache-Control"] = "no-store"
    return NewKeyView(**_fields(key, None), token=token)


@router.get(
    "",
    responses={
        200: answer("All keys, without their tokens.", shows=("keys",)),
        **refusals(JobStoreUnavailable),
    },
)
def list_keys(context: ContextDep) -> KeyList:
    """The API keys of all tenants."""
    used = context.api_keys.last_used()
    return KeyList(
        items=[KeyView(**_fields(key, used.get(key.id))) for key in context.api_keys.all()]
    )


@router.delete(
    "/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses={204: answer("Revoked."), **refusals(KeyNotFound, JobStoreUnavailable)},
)
def revoke_key(
    key_id: Annotated[
        str,
        Path(
            description="The `id` of the key.",
            json_schema_extra={"pattern": KEY_ID_PATTERN},
            examples=["07e8f9595bdbd83c"],
        ),
    ],
    context: ContextDep,
) -> None:
    """Revoke a key: it is refused at once, and its open streams end."""
    try:
        context.api_keys.revoke(key_id)
    except NoSuchKey as error:
        raise KeyNotFound("There is no key of this id: GET /keys lists them.") from error


def _fields(key: ApiKey, last_used_at: datetime | None) -> dict[str, object]:
    return {**key.model_dump(exclude={"digest"}), "last_used_at": last_used_at}
