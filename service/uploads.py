"""POST /uploads: a presigned URL for a picture that a later request refers to."""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from panoweave.core.jobs.record import new_id
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import TenantDep
from panoweave.service.http.errors import JobStoreUnavailable, ObjectStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import CACHE_CONTROL
from panoweave.service.schemas import UploadView

router = APIRouter(tags=["uploads"])


@router.post(
    "/uploads",
    status_code=status.HTTP_201_CREATED,
    responses={
        201: answer("Where to upload the picture.", shows=("upload",), always=(CACHE_CONTROL,)),
        **refusals(JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def create_upload(context: ContextDep, tenant: TenantDep, response: Response) -> UploadView:
    """PUT the file to `url`. Then use `key` in a request: `{"anchor_image": {"key": ...}}`."""
    key = f"{tenant}/uploads/{new_id('upl')}"
    response.headers["Cache-Control"] = "no-store"  # the URL is a credential
    return UploadView(
        key=key,
        url=context.objects.presign_upload(key),
        method="PUT",
        expires_in_s=context.settings.presign_ttl_s,
    )
