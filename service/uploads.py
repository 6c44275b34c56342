"""POST /uploads: a presigned URL for a picture that a later request refers to."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from panoweave.core.image_reader import MAX_IMAGE_BYTES
from panoweave.core.jobs.uploads import begin_upload
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import TenantDep
from panoweave.service.http.errors import (
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    TooManyUploadsByTenant,
)
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import CACHE_CONTROL
from panoweave.service.schemas import UploadView

router = APIRouter(tags=["uploads"])


@router.post(
    "/uploads",
    status_code=status.HTTP_201_CREATED,
    responses={
        201: answer("Where to upload the picture.", shows=("upload",), always=(CACHE_CONTROL,)),
        **refusals(TooManyUploadsByTenant, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def create_upload(context: ContextDep, tenant: TenantDep, response: Response) -> UploadView:
    """POST the file to `url` as a form, then use `key` in a request.

    For example `{"anchor_image": {"key": "..."}}`.

    The file is removed a day after the URL has expired. Panoramas keep copies of their own.
    """
    settings = context.settings
    key = begin_upload(context.redis, tenant, settings.tenant_max_uploads, settings.presign_ttl_s)
    form = context.objects.presign_upload(key, MAX_IMAGE_BYTES)
    response.headers["Cache-Control"] = "no-store"  # the URL is a credential
    return UploadView(
        key=key,
        url=form.url,
        method="POST",
        fields=form.fields,
        max_bytes=MAX_IMAGE_BYTES,
        expires_in_s=context.settings.presign_ttl_s,
    )
