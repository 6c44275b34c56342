"""A place in the bucket for a picture that a request will name."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from core.jobs.record import new_id
from service.auth import Tenant
from service.context import InContext
from service.errors import ObjectsAway, RedisAway
from service.openapi import answer, refusals
from service.response_headers import CACHE_CONTROL
from service.schemas import UploadView

router = APIRouter(tags=["uploads"])


@router.post(
    "/uploads",
    status_code=status.HTTP_201_CREATED,
    responses={
        201: answer("The place.", shows=("upload",), always=(CACHE_CONTROL,)),
        **refusals(RedisAway, ObjectsAway),
    },
)
def create_upload(context: InContext, tenant: Tenant, response: Response) -> UploadView:
    """PUT the file to `url`, then name `key` in a request: `{"anchor_image": {"key": ...}}`."""
    key = f"{tenant}/uploads/{new_id('upl')}"
    response.headers["Cache-Control"] = "no-store"  # whoever holds the URL can write there
    return UploadView(
        key=key,
        url=context.objects.presign_upload(key),
        method="PUT",
        expires_in_s=context.settings.presign_ttl_s,
    )
