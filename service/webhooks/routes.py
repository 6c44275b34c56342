"""The deliveries of a panorama's webhook: listing them, and delivering again."""

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
from panoweave.service.webhooks.views import delivery_list

router = APIRouter(prefix="/panoramas", tags=["webhooks"])

_MAX_IDS: Final = 100


@router.get(
    "/{job_id}/deliveries",
    responses={
        200: answer("All deliveries, oldest first.", shows=("deliveries", "no_deliveries")),
        **refusals(PanoramaNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def list_deliveries(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> DeliveryList:
    """Every event that the webhook is sent, that of the panorama's batch too, with each attempt:
    when it was made, what the receiver answered, and when the next one is due."""
    record = lookup_job(context, job_id, tenant)
    return delivery_list(record, context.deliveries.of_job(record))


@router.post(
    "/{job_id}/deliveries/redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        202: answer("All deliveries as they are now.", shows=("deliveries", "no_deliveries")),
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
            description="A delivery of this panorama in any state. May be repeated. Without it, "
            "all that were given up are sent again, except progress, which is out of date.",
        ),
    ] = None,
) -> DeliveryList:
    """Deliver again, at once and with the same retries as before. The `webhook-id` stays the
    same."""
    record = lookup_job(context, job_id, tenant)
    known = {each.delivery.id: each.delivery for each in context.deliveries.of_job(record)}
    if ids is None:
        ids = [
            each.id
            for each in known.values()
            if each.state is State.DEAD and not each.is_tried_once
        ]
    elif not known.keys() >= set(ids):
        raise InvalidParams("id", "is no delivery of this panorama", "ids as GET lists them")
    context.deliveries.redeliver(ids)
    return delivery_list(record, context.deliveries.of_job(record))
