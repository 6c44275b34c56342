"""Panoramas: ask for one, look at it, list them, call one off or try again, fetch the picture."""

from __future__ import annotations

import json
import time
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from panoweave.core.jobs.record import JOB_ID_PATTERN, TERMINAL, JobRecord, Status, file_name
from panoweave.service.dependencies import Context, ContextDep, SubscriptionsDep
from panoweave.service.http import conditional
from panoweave.service.http.auth import CallerDep, TenantDep
from panoweave.service.http.conditional import IfNoneMatch, Prefer
from panoweave.service.http.errors import (
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidRequest,
    JobStoreUnavailable,
    ModelNotLoaded,
    NotEnded,
    NotFailed,
    NotSucceeded,
    ObjectStoreUnavailable,
    PanoramaNotFound,
    PreviewUnavailable,
    TooManyQueued,
    TooManyQueuedByTenant,
)
from panoweave.service.http.idempotency import IdempotencyKey, once
from panoweave.service.http.trace import TraceDep
from panoweave.service.openapi import examples
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import (
    CACHE_CONTROL,
    ETAG,
    IDEMPOTENCY_REPLAYED,
    LOCATION,
    PREFERENCE_APPLIED,
    RETRY_AFTER,
    SIGNED_LOCATION,
    VARY,
)
from panoweave.service.panoramas import submit
from panoweave.service.panoramas.lookup import PanoramaId, lookup_job
from panoweave.service.panoramas.views import panorama_views, preview_name
from panoweave.service.schemas import PanoramaPage, PanoramaRequest, PanoramaView

router = APIRouter(prefix="/panoramas", tags=["panoramas"])

_POLL_AFTER_S = "2"
_MAX_PAGE = 100


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        202: answer(
            "Taken in. Poll its `Location`, or follow its events.",
            shows=("queued",),
            always=(LOCATION, RETRY_AFTER),
            sometimes=(IDEMPOTENCY_REPLAYED,),
        ),
        **refusals(
            PanoramaNotFound,
            IdempotencyKeyInFlight,
            InvalidRequest,
            IdempotencyKeyReused,
            TooManyQueued,
            TooManyQueuedByTenant,
            ModelNotLoaded,
            JobStoreUnavailable,
            ObjectStoreUnavailable,
        ),
    },
    response_model=PanoramaView,
)
def create_panorama(
    request: Annotated[PanoramaRequest, Body(openapi_examples=examples.REQUESTS)],
    context: ContextDep,
    caller: CallerDep,
    trace: TraceDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take a panorama in. It is made later: poll the `Location`."""

    def carry_out(job_id: str) -> PanoramaView:
        return _view(context, submit.submit(context, caller.tenant, request, job_id, trace))

    answered = once(context, caller.owner, idempotency_key, request, carry_out)
    job_id = json.loads(answered.body)["id"]
    headers = {"Location": f"/panoramas/{job_id}", "Retry-After": _POLL_AFTER_S}
    if answered.is_replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(
        answered.body, status.HTTP_202_ACCEPTED, headers=headers, media_type="application/json"
    )


@router.get(
    "",
    responses={
        200: answer("A page of them.", shows=("first_page", "last_page")),
        **refusals(InvalidRequest, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def list_panoramas(
    context: ContextDep,
    tenant: TenantDep,
    status: Annotated[Status | None, Query(description="Only those.")] = None,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="As many at most.")] = 20,
    cursor: Annotated[
        str | None, Query(pattern=JOB_ID_PATTERN, description="`next_cursor` of the page before.")
    ] = None,
) -> PanoramaPage:
    """Newest first. Those that arrive meanwhile do not shift the pages that follow."""
    page = context.store.list(tenant, status, limit, cursor)
    return PanoramaPage(items=panorama_views(context, page.records), next_cursor=page.next_cursor)


@router.get(
    "/{job_id}",
    response_model=PanoramaView,
    responses={
        200: answer(
            "The panorama as it is now; with `Prefer: wait`, as it is after the wait.",
            shows=("queued", "running", "succeeded", "failed"),
            always=(ETAG, CACHE_CONTROL, VARY),
            sometimes=(RETRY_AFTER, PREFERENCE_APPLIED),
        ),
        304: answer(
            "It is as it was: `If-None-Match` names it.",
            always=(ETAG, CACHE_CONTROL, VARY),
            sometimes=(RETRY_AFTER, PREFERENCE_APPLIED),
        ),
        **refusals(PanoramaNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
async def get_panorama(
    job_id: PanoramaId,
    context: ContextDep,
    tenant: TenantDep,
    subscriptions: SubscriptionsDep,
    if_none_match: IfNoneMatch = None,
    prefer: Prefer = None,
) -> Response:
    """How far it is; once it has succeeded, where the picture is."""
    wait_s = conditional.wait_s(prefer)
    until = time.monotonic() + (wait_s or 0)
    with subscriptions.subscribe(job_id) as subscription:
        while True:
            view = await run_in_threadpool(
                lambda: _view(context, lookup_job(context, job_id, tenant))
            )
            body = view.model_dump_json().encode()
            if if_none_match is None:
                is_news = view.status in TERMINAL
            else:
                is_news = not conditional.matches(if_none_match, conditional.etag(body))
            left_s = until - time.monotonic()
            if is_news or left_s <= 0:
                break
            await subscription.wait(left_s)
    headers = {} if view.status in TERMINAL else {"Retry-After": _POLL_AFTER_S}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return conditional.answer(body, headers, if_none_match)


@router.delete(
    "/{job_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses={
        204: answer("It is forgotten."),
        **refusals(PanoramaNotFound, NotEnded, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def delete_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> None:
    """Forget it: the record, the picture, and what came with the request. One that has not ended
    is to be cancelled first."""
    submit.delete(context, tenant, job_id)


@router.post(
    "/{job_id}/cancel",
    responses={
        200: answer("As it is now.", shows=("cancelled", "to_be_cancelled")),
        **refusals(PanoramaNotFound, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def cancel_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> PanoramaView:
    """Call it off: at once while it waits, at its next step while it runs. Once this has answered,
    it never becomes `succeeded`. A panorama that has ended stays as it is."""
    return _view(context, submit.cancel(context, tenant, job_id))


@router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        202: answer("As it is now.", shows=("queued", "running")),
        **refusals(
            PanoramaNotFound,
            NotFailed,
            TooManyQueued,
            TooManyQueuedByTenant,
            JobStoreUnavailable,
            ObjectStoreUnavailable,
        ),
    },
)
def retry_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> PanoramaView:
    """Make a failed one after all, from where it stood. One that waits or runs stays as it is."""
    return _view(context, submit.retry(context, tenant, job_id))


@router.get(
    "/{job_id}/image",
    status_code=status.HTTP_307_TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses={
        307: answer("Where the picture is.", always=(SIGNED_LOCATION, CACHE_CONTROL)),
        **refusals(PanoramaNotFound, NotSucceeded, JobStoreUnavailable, ObjectStoreUnavailable),
    },
)
def get_image(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> RedirectResponse:
    """The finished picture, at a URL signed just now."""
    record = lookup_job(context, job_id, tenant)
    if record.result is None:
        raise NotSucceeded(f"This panorama is {record.status}.")
    name = file_name(record.id, record.result.format)
    return _redirect(context, record.result.keys.image, name)


@router.get(
    "/{job_id}/preview",
    status_code=status.HTTP_307_TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses={
        307: answer("Where the preview is.", always=(SIGNED_LOCATION, CACHE_CONTROL)),
        **refusals(
            PanoramaNotFound, PreviewUnavailable, JobStoreUnavailable, ObjectStoreUnavailable
        ),
    },
)
def get_preview(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> RedirectResponse:
    """A small JPEG: while it is made, of the panorama as it is foreseen, anew every few seconds."""
    record = lookup_job(context, job_id, tenant)
    if record.result:
        return _redirect(context, record.result.keys.preview, preview_name(record.id))
    foreseen = record.keys.foreseen
    if record.status is Status.RUNNING and context.objects.exists(foreseen):
        return _redirect(context, foreseen, preview_name(record.id))
    raise PreviewUnavailable(
        f"This panorama is {record.status}, and there is nothing to see of it."
    )


def _redirect(context: Context, key: str, filename: str) -> RedirectResponse:
    url = context.objects.presign(key, filename)
    return RedirectResponse(url, headers={"Cache-Control": "no-store"})


def _view(context: Context, record: JobRecord) -> PanoramaView:
    return panorama_views(context, [record])[0]
