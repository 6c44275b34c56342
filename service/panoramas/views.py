"""Turns job records into what a client reads, with fresh links and queue positions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs.queue import QueueEstimate
from panoweave.core.jobs.record import JobRecord, Result, Status, file_name
from panoweave.service.dependencies import Context
from panoweave.service.schemas import ErrorView, PanoramaView, ProgressView, ResultView

_NO_ESTIMATE = QueueEstimate({}, {})


def panorama_view(context: Context, record: JobRecord) -> PanoramaView:
    return panorama_views(context, [record])[0]


def panorama_views(context: Context, records: Sequence[JobRecord]) -> list[PanoramaView]:
    queued = [record for record in records if record.status is Status.QUEUED]
    estimate = _NO_ESTIMATE
    # Optional: if Redis has gone away since a job was accepted, the answer is not a 503.
    with suppress(StoreUnavailable):
        estimate = context.queue.estimate(queued) if queued else _NO_ESTIMATE
    return [_panorama_view(context, record, estimate) for record in records]


def _panorama_view(context: Context, record: JobRecord, estimate: QueueEstimate) -> PanoramaView:
    return PanoramaView(
        id=record.id,
        status=record.status,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        queue_position=estimate.places.get(record.id),
        progress=_progress_view(record, estimate),
        params=record.params,
        attempts=record.attempts,
        estimate_s=None if record.estimate_s is None else round(record.estimate_s, 1),
        cancel_requested=record.cancel_requested,
        result=_result_view(context, record.id, record.result) if record.result else None,
        error=ErrorView(**record.error.model_dump()) if record.error else None,
        metadata=record.metadata,
    )


def _progress_view(record: JobRecord, estimate: QueueEstimate) -> ProgressView | None:
    if record.status is Status.QUEUED:
        eta_s = estimate.etas_s.get(record.id)
        return ProgressView(
            phase="queued",
            step=0,
            total_steps=record.params.steps,
            fraction=0,
            eta_s=None if eta_s is None else round(eta_s, 1),
        )
    if record.status is Status.SUCCEEDED:
        steps = record.params.steps
        return ProgressView(phase="done", step=steps, total_steps=steps, fraction=1, eta_s=0)
    if record.status is Status.RUNNING and record.progress is None:
        return ProgressView(
            phase="starting",
            step=0,
            total_steps=record.params.steps,
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
