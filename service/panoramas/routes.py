"""The routes under /panoramas, apart from events and webhook deliveries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Body, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from panoweave.core.jobs.record import TERMINAL, Status, file_name
from panoweave.core.output import MEDIA_TYPES
from panoweave.service.dependencies import Context, ContextDep, SubscriptionsDep
from panoweave.service.http import conditional
from panoweave.service.http.auth import CallerDep, TenantDep, ViewerDep, raise_if_revoked
from panoweave.service.http.conditional import IfNoneMatch, Prefer, PreferOnCreate
from panoweave.service.http.errors import (
    ImageReadersBusy,
    InvalidRequest,
    JobStoreUnavailable,
    NotEnded,
    NotFailed,
    NotSucceeded,
    ObjectStoreUnavailable,
    PanoramaNotFound,
    PreviewUnavailable,
    TooManyQueued,
    TooManyQueuedByTenant,
    Unauthorized,
)
from panoweave.service.http.idempotency import IdempotencyKey
from panoweave.service.http.rate_limits import count_more
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
from panoweave.service.panoramas import lifecycle, pictures
from panoweave.service.panoramas.filters import FilterDep, PagingDep
from panoweave.service.panoramas.lookup import PanoramaId, lookup_job
from panoweave.service.panoramas.pictures import Redirect, picture_answer
from panoweave.service.panoramas.submit import SUBMIT_REFUSALS, as_answer, submit
from panoweave.service.panoramas.subscriptions import JobSubscriptions
from panoweave.service.panoramas.views import panorama_page, panorama_view, preview_name
from panoweave.service.schemas import PanoramaBatch, PanoramaPage, PanoramaRequest, PanoramaView

router = APIRouter(prefix="/panoramas", tags=["panoramas"])

_POLL_AFTER_S: Final = "2"
_STORES_UNAVAILABLE: Final = (JobStoreUnavailable, ObjectStoreUnavailable)


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        200: answer(
            "With `Prefer: wait`: it has ended.",
            shows=("succeeded", "failed", "batch"),
            always=(LOCATION, PREFERENCE_APPLIED),
            sometimes=(IDEMPOTENCY_REPLAYED,),
        )
        | {"model": PanoramaView | PanoramaBatch},
        202: answer(
            "Accepted. Poll its `Location`, or follow its events. The `Location` of a batch lists "
            "its panoramas.",
            shows=("queued", "batch"),
            always=(LOCATION, RETRY_AFTER),
            sometimes=(IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED),
        ),
        **refusals(*SUBMIT_REFUSALS, ImageReadersBusy),
    },
    response_model=PanoramaView | PanoramaBatch,
)
async def create_panorama(
    request: Annotated[PanoramaRequest, Body(openapi_examples=examples.REQUESTS)],
    http_request: Request,
    context: ContextDep,
    caller: CallerDep,
    trace: TraceDep,
    subscriptions: SubscriptionsDep,
    idempotency_key: IdempotencyKey = None,
    prefer: PreferOnCreate = None,
) -> Response:
    """Accept a panorama, or `n` of them. A worker makes it later: poll the `Location`, or wait
    with `Prefer`."""
    await count_more(http_request, context, caller.tenant, request.n - 1)
    accepted = await run_in_threadpool(submit, context, caller, request, trace, idempotency_key)
    headers = accepted.headers()
    body, has_ended = accepted.answer.encode(), False
    if wait_s := conditional.wait_s(prefer):
        follow = [
            _Follow(context, subscriptions, job_id, caller.tenant, http_request)
            for job_id in accepted.job_ids
        ]
        with suppress(Unauthorized):  # the key was revoked; the panorama is accepted all the same
            views = await _until_all_ended(follow, wait_s)
            has_ended = all(view.status in TERMINAL for view in views)
            body = as_answer(views).model_dump_json().encode()
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if not has_ended:
        headers["Retry-After"] = _POLL_AFTER_S
    status_code = status.HTTP_200_OK if has_ended else status.HTTP_202_ACCEPTED
    return Response(body, status_code, headers=headers, media_type="application/json")


@router.get(
    "",
    responses={
        200: answer("One page.", shows=("first_page", "last_page")),
        **refusals(InvalidRequest, *_STORES_UNAVAILABLE),
    },
)
def list_panoramas(
    context: ContextDep, tenant: TenantDep, paging: PagingDep, wanted: FilterDep
) -> PanoramaPage:
    """The tenant's panoramas, newest first. New ones do not shift the pages that follow. Long texts
    are shortened: `shortened` says so. A page may have fewer items than `limit`, if few match."""
    return panorama_page(context, tenant, wanted, paging)


@router.get(
    "/{job_id}",
    response_model=PanoramaView,
    responses={
        200: answer(
            "The panorama as it is now or, with `Prefer: wait`, after the wait.",
            shows=("queued", "running", "succeeded", "failed"),
            always=(ETAG, CACHE_CONTROL, VARY),
            sometimes=(RETRY_AFTER, PREFERENCE_APPLIED),
        ),
        304: answer(
            "The panorama has not changed since the answer that `If-None-Match` names.",
            always=(ETAG, CACHE_CONTROL, VARY),
            sometimes=(RETRY_AFTER, PREFERENCE_APPLIED),
        ),
        **refusals(PanoramaNotFound, *_STORES_UNAVAILABLE),
    },
)
async def get_panorama(
    request: Request,
    job_id: PanoramaId,
    context: ContextDep,
    tenant: TenantDep,
    subscriptions: SubscriptionsDep,
    if_none_match: IfNoneMatch = None,
    prefer: Prefer = None,
) -> Response:
    """The panorama's status and progress. Once it has succeeded, links to the picture."""
    wait_s = conditional.wait_s(prefer)
    follow = _Follow(context, subscriptions, job_id, tenant, request)
    view, body = await follow.until_news(wait_s or 0, if_none_match)
    headers = {} if view.status in TERMINAL else {"Retry-After": _POLL_AFTER_S}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return conditional.answer(body, headers, if_none_match)


async def _until_all_ended(follow: Sequence[_Follow], wait_s: int) -> list[PanoramaView]:
    """The panoramas once all have ended; after `wait_s` as they are then."""
    deadline = time.monotonic() + wait_s
    return [
        (await each.until_news(deadline - time.monotonic(), if_none_match=None))[0]
        for each in follow
    ]


class _Follow(NamedTuple):
    """Waits for a panorama."""

    context: Context
    subscriptions: JobSubscriptions
    job_id: str
    tenant: str
    request: Request  # its wait ends when its key is revoked

    async def until_news(
        self, wait_s: float, if_none_match: str | None
    ) -> tuple[PanoramaView, bytes]:
        """The panorama once it has ended or, with `if_none_match`, has changed; after `wait_s` as
        it is then."""
        deadline = time.monotonic() + wait_s
        with self.subscriptions.subscribe(self.job_id) as subscription:
            while True:
                view = await run_in_threadpool(self._read)
                body = view.model_dump_json().encode()
                if if_none_match is None:
                    is_news = view.status in TERMINAL
                else:
                    is_news = not conditional.matches(if_none_match, conditional.etag(body))
                left_s = deadline - time.monotonic()
                if is_news or left_s <= 0:
                    return view, body
                await subscription.wait(left_s)
                await raise_if_revoked(self.request, self.subscriptions.redis)

    def _read(self) -> PanoramaView:
        return panorama_view(self.context, lookup_job(self.context, self.job_id, self.tenant))


@router.delete(
    "/{job_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses={
        204: answer("Deleted."),
        **refusals(PanoramaNotFound, NotEnded, *_STORES_UNAVAILABLE),
    },
)
def delete_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> None:
    """Delete the record, the picture, and the pictures of the request. A panorama that has not
    ended must be cancelled first."""
    lifecycle.delete(context, tenant, job_id)


@router.post(
    "/{job_id}/cancel",
    responses={
        200: answer("The panorama as it is now.", shows=("cancelled", "to_be_cancelled")),
        **refusals(PanoramaNotFound, *_STORES_UNAVAILABLE),
    },
)
def cancel_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> PanoramaView:
    """Cancel a panorama: at once if it is queued, at its next step if it runs. After this answer
    it never becomes `succeeded`. A panorama that has ended stays as it is."""
    return panorama_view(context, lifecycle.cancel(context, tenant, job_id))


@router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        202: answer("The panorama as it is now.", shows=("queued", "running")),
        **refusals(
            PanoramaNotFound,
            NotFailed,
            TooManyQueued,
            TooManyQueuedByTenant,
            *_STORES_UNAVAILABLE,
        ),
    },
)
def retry_panorama(job_id: PanoramaId, context: ContextDep, tenant: TenantDep) -> PanoramaView:
    """Retry a failed panorama, from the last step that was saved. One that is queued or running
    stays as it is."""
    return panorama_view(context, lifecycle.retry(context, tenant, job_id))


@router.get(
    "/{job_id}/image",
    status_code=status.HTTP_307_TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses={
        200: picture_answer("the picture", *MEDIA_TYPES.values()),
        307: answer("Where the picture is.", always=(SIGNED_LOCATION, CACHE_CONTROL)),
        **refusals(PanoramaNotFound, NotSucceeded, InvalidRequest, *_STORES_UNAVAILABLE),
    },
)
def get_image(
    job_id: PanoramaId, context: ContextDep, tenant: ViewerDep, redirect: Redirect = True
) -> Response:
    """Redirect to the finished picture, with a freshly signed URL."""
    record = lookup_job(context, job_id, tenant)
    if record.result is None:
        raise NotSucceeded(f"This panorama is {record.status}.")
    filename = file_name(record.id, record.result.format)
    return pictures.answer(context.objects, record.result.keys.image, filename, redirect)


@router.get(
    "/{job_id}/preview",
    status_code=status.HTTP_307_TEMPORARY_REDIRECT,
    response_class=RedirectResponse,
    responses={
        200: picture_answer("the preview", "image/jpeg"),
        307: answer("Where the preview is.", always=(SIGNED_LOCATION, CACHE_CONTROL)),
        **refusals(PanoramaNotFound, PreviewUnavailable, InvalidRequest, *_STORES_UNAVAILABLE),
    },
)
def get_preview(
    job_id: PanoramaId, context: ContextDep, tenant: ViewerDep, redirect: Redirect = True
) -> Response:
    """Redirect to a small JPEG. While the panorama is being made, it shows the predicted result
    and is replaced every few seconds."""
    record = lookup_job(context, job_id, tenant)
    filename = preview_name(record.id)
    if record.result:
        return pictures.answer(context.objects, record.result.keys.preview, filename, redirect)
    predicted = record.keys.foreseen
    if record.status is Status.RUNNING and context.objects.exists(predicted):
        return pictures.answer(context.objects, predicted, filename, redirect)
    raise PreviewUnavailable(f"This panorama is {record.status} and has no preview yet.")
