"""Turns job records into what a client reads, with fresh links and queue positions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs.listing import Filter
from panoweave.core.jobs.queue import QueueEstimate
from panoweave.core.jobs.record import JobRecord, Result, Status, file_name
from panoweave.service.dependencies import Context
from panoweave.service.panoramas.filters import Paging
from panoweave.service.schemas import (
    ErrorView,
    PanoramaPage,
    PanoramaSummary,
    PanoramaView,
    ProgressView,
    ResultView,
)

# Of a list's items.
_PROMPT_CHARS: Final = 200
_METADATA_CHARS: Final = 1_000

_NO_ESTIMATE: Final = QueueEstimate({}, {})


def panorama_view(context: Context, record: JobRecord) -> PanoramaView:
    return panorama_views(context, [record])[0]


def panorama_views(context: Context, records: Sequence[JobRecord]) -> list[PanoramaView]:
    queued = [record for record in records if record.status is Status.QUEUED]
    estimate = _NO_ESTIMATE
    # Optional: if Redis has gone away since a job was accepted, the answer is not a 503.
    with suppress(StoreUnavailable):
        estimate = context.queue.estimate(queued) if queued else _NO_ESTIMATE
    return [_panorama_view(context, record, estimate) for record in records]


def panorama_summaries(context: Context, records: Sequence[JobRecord]) -> list[PanoramaSummary]:
    """The panoramas as a list shows them: without what can be long."""
    return [_summary(view) for view in panorama_views(context, records)]


def panorama_page(context: Context, tenant: str, wanted: Filter, paging: Paging) -> PanoramaPage:
    page = context.store.select(tenant, wanted, paging.limit, paging.cursor)
    return PanoramaPage(
        items=panorama_summaries(context, page.records),
        next_cursor=page.next_cursor,
        total=context.store.count(tenant, wanted) if paging.is_counted else None,
    )


def _summary(view: PanoramaView) -> PanoramaSummary:
    params = view.params.model_copy(
        update={
            "prompt": _cut(view.params.prompt),
            "negative_prompt": _cut(view.params.negative_prompt),
            "regions": [],
        }
    )
    metadata = view.metadata if len(json.dumps(view.metadata)) <= _METADATA_CHARS else {}
    is_shortened = params != view.params or metadata != view.metadata
    fields = dict(view) | {"params": params, "metadata": metadata}
    return PanoramaSummary(**fields, shortened=is_shortened)


def _cut(text: str) -> str:
    return text if len(text) <= _PROMPT_CHARS else text[: _PROMPT_CHARS - 1] + "…"


def _panorama_view(context: Context, record: JobRecord, estimate: QueueEstimate) -> PanoramaView:
    return PanoramaView(
        id=record.id,
        status=record.status,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        queue_position=estimate.places.get(record.id),
        progress=_progress_view(record, estimate),
        model=record.model,
        params=record.params,
        attempts=record.attempts,
        estimate_s=None if record.estimate_s is None else round(record.estimate_s, 1),
        cancel_requested=record.cancel_requested,
        result=_result_view(context, record.id, record.result) if record.result else None,
        error=ErrorView(**record.error.model_dump()) if record.error else None,
        metadata=record.metadata,
        batch_id=record.batch_id,
        priority=record.priority,
        start_by=record.start_by,
        expires_at=record.expires_at,
    )


def _progress_view(record: JobRecord, estimate: QueueEstimate) -> ProgressView | None:
    if record.status is Status.QUEUED:
        eta_s = estimate.etas_s.get(record.id)
        return ProgressView(
            phase="queued",
            step=0,
            total_steps=record.params.total_steps,
            fraction=0,
            eta_s=None if eta_s is None else round(eta_s, 1),
        )
    if record.status is Status.SUCCEEDED:
        steps = record.params.total_steps
        return ProgressView(
            phase="done", step=steps, total_steps=steps, fraction=1, eta_s=0, has_preview=True
        )
    if record.status is Status.RUNNING and record.progress is None:
        return ProgressView(
            phase="starting",
            step=0,
            total_steps=record.params.total_steps,
            fraction=0,
            eta_s=None if record.estimate_s is None else round(record.estimate_s, 1),
        )
    if record.progress is None:
        return None
    view = ProgressView(**record.progress.model_dump())
    return view if record.status is Status.RUNNING else view.model_copy(update={"eta_s": None})


def _result_view(context: Context, job_id: str, result: Result) -> ResultView:
    # The same URLs for a while, or the ETag of a finished panorama would change at every read.
    presign = context.objects.presign_stable
    return ResultView(
        image_url=presign(result.keys.image, file_name(job_id, result.format)),
        preview_url=presign(result.keys.preview, preview_name(job_id)),
        **result.model_dump(exclude={"keys"}),
    )


def preview_name(job_id: str) -> str:
    return f"{job_id}-preview.jpg"
