"""Cancelling, retrying and deleting a panorama."""

from __future__ import annotations

from contextlib import suppress

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs.errors import IllegalMove, NotFound
from panoweave.core.jobs.record import TERMINAL, JobRecord, Status
from panoweave.service.dependencies import Context
from panoweave.service.http.errors import NotEnded, NotFailed
from panoweave.service.panoramas.lookup import lookup_job


def cancel(context: Context, tenant: str, job_id: str) -> JobRecord:
    job = lookup_job(context, job_id, tenant)
    if job.status in TERMINAL:
        return job
    return context.store.request_cancel(job_id)


def retry(context: Context, tenant: str, job_id: str) -> JobRecord:
    job = lookup_job(context, job_id, tenant)
    if job.status in (Status.SUCCEEDED, Status.CANCELLED):
        raise NotFailed(f"This panorama is {job.status}.")
    try:
        job = context.store.retry(job)
    except IllegalMove as refused:  # it has moved on, or a newer version moved it
        raise NotFailed(f"This panorama is {refused.record.status}.") from refused
    with suppress(StoreUnavailable):  # the janitor tops the queue up
        context.queue.top_up()
    return job


def delete(context: Context, tenant: str, job_id: str) -> None:
    job = lookup_job(context, job_id, tenant)
    if job.status not in TERMINAL:
        raise NotEnded(f"This panorama is {job.status}. Cancel it first.")
    # Objects first: if this fails half-way, the record is still there and DELETE can be repeated.
    context.objects.delete_prefix(f"{job.tenant}/{job.id}/")
    try:
        context.store.delete(job_id)
    except NotFound:
        pass  # Redis may have expired it, or another DELETE was faster
    except IllegalMove as refused:  # it is retried
        raise NotEnded(f"This panorama is {refused.record.status}.") from refused
