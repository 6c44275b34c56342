"""What a panorama's webhook was told, what came of it, and telling it again."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, status

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.webhooks.deliveries import State
from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import TenantDep
from panoweave.service.http.errors import (
    InvalidRequest,
    JobStoreUnavailable,
    ObjectStoreUnavailable,
    PanoramaNotFound,
)
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.panoramas.lookup import PanoramaId, lookup_job
from panoweave.service.schemas import DeliveryList
from panoweave.service.webhooks.checks import delivery_list

router = APIRouter(prefix="/panoramas", tags=["webhooks"])

_MAX_IDS: Final = 100


@router.get(
    "/{job_id}/deliveries",
    responses={
        200: answer("All of them, oldest first.", shows=("deliveries", "no_deliveries")),
        **refusals(PanoramaNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def list_deliveries(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> DeliveryList:
    """Every event that was to be told, with each try: when, what was answered, when the next is."""
    record = lookup_job(context, job_id, tenant)
    return delivery_list(record, context.deliveries.of(record.id))


@router.post(
    "/{job_id}/deliveries/redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        202: answer("All of them, as they are now.", shows=("deliveries", "no_deliveries")),
        **refusals(PanoramaNotFound, InvalidRequest, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def redeliver_deliveries(
    job_id: PanoramaId,
    context: ContextDep,
    tenant: TenantDep,
    ids: Annotated[
        list[str] | None,
        Query(
            alias="id",
            max_length=_MAX_IDS,
            description="A delivery of this panorama, delivered or not; may be given again. Left "
            "out: all that were given up.",
        ),
    ] = None,
) -> DeliveryList:
    """Tell it again, at once and as patiently as before. The `webhook-id` stays the same."""
    record = lookup_job(context, job_id, tenant)
    histories = {each.delivery.id: each for each in context.deliveries.of(record.id)}
    if ids is None:
        ids = [name for name, each in histories.items() if each.delivery.state is State.DEAD]
    elif not histories.keys() >= set(ids):
        raise InvalidParams("id", "is no delivery of this panorama", "ids as GET lists them")
    context.deliveries.redeliver(ids)
    return delivery_list(record, context.deliveries.of(record.id))
