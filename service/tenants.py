"""The panoramas of any tenant, for admin keys: listed and cancelled."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path

from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import AdminOnly
from panoweave.service.http.errors import (
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    PanoramaNotFound,
)
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.panoramas import lifecycle
from panoweave.service.panoramas.filters import FilterDep, PagingDep
from panoweave.service.panoramas.lookup import PanoramaId
from panoweave.service.panoramas.views import panorama_page, panorama_view
from panoweave.service.schemas import PanoramaPage, PanoramaView

router = APIRouter(prefix="/tenants/{tenant}/panoramas", tags=["admin"], dependencies=[AdminOnly])

_STORES_UNAVAILABLE: Final = (JobStoreUnavailable, ObjectStoreUnavailable)

AnyTenant = Annotated[
    str,
    Path(
        description="The tenant's name. One that is not known has no panoramas.",
        examples=["ada"],
    ),
]


@router.get(
    "",
    responses={
        200: answer("One page.", shows=("first_page", "last_page")),
        **refusals(*_STORES_UNAVAILABLE),
    },
)
def list_tenant_panoramas(
    tenant: AnyTenant,
    context: ContextDep,
    paging: PagingDep,
    wanted: FilterDep,
) -> PanoramaPage:
    """As `GET /panoramas`, of any tenant. Needs a key of scope `admin`."""
    return panorama_page(context, tenant, wanted, paging)


@router.post(
    "/{job_id}/cancel",
    responses={
        200: answer("The panorama as it is now.", shows=("cancelled", "to_be_cancelled")),
        **refusals(PanoramaNotFound, *_STORES_UNAVAILABLE),
    },
)
def cancel_tenant_panorama(
    tenant: AnyTenant, job_id: PanoramaId, context: ContextDep
) -> PanoramaView:
    """As `POST /panoramas/{job_id}/cancel`, of any tenant. Needs a key of scope `admin`."""
    return panorama_view(context, lifecycle.cancel(context, tenant, job_id))
