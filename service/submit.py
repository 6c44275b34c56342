"""Taking a panorama in, and calling one off."""

from __future__ import annotations

import logging
from contextlib import suppress

from structlog.contextvars import bind_contextvars

from core.jobs import models
from core.jobs.failures import NotFound, ObjectStoreError, QueueFull, StoreUnavailable
from core.jobs.record import TERMINAL, JobRecord, Status, Trace
from service.context import Context
from service.errors import NotEnded
from service.find import find
from service.inputs import take_in
from service.schemas import PanoramaRequest

log = logging.getLogger(__name__)


def submit(
    context: Context, tenant: str, request: PanoramaRequest, job_id: str, trace: Trace
) -> JobRecord:
    """Take a panorama in, once for each `job_id`: a second time finds the first one's record."""
    model = context.settings.model
    traits = models.traits(context.redis, model)
    params = request.params().resolve(traits)
    asked = JobRecord.new(params, model, tenant, request.metadata, job_id, trace)
    taken = take_in(context, asked, traits)
    try:
        record = context.store.create(taken)
    except QueueFull:
        with suppress(ObjectStoreError):  # its pictures, if it came with any
            context.objects.delete_prefix(f"{tenant}/{taken.id}/")
        raise
    bind_contextvars(job_id=record.id)
    log.info("%s: taken in", record.id)
    try:
        context.queue.enqueue(record)
    except StoreUnavailable:
        # Accepted all the same: the record is the truth, and the janitor enqueues every queued
        # record that RQ does not hold. A 503 here would make the client post it twice.
        log.warning("%s was recorded but not enqueued: left to the janitor", record.id)
    return record


def cancel(context: Context, tenant: str, job_id: str) -> JobRecord:
    record = find(context, job_id, tenant)
    if record.status in TERMINAL:
        return record
    record = context.store.request_cancel(job_id)
    if record.status is Status.CANCELLED:
        # Tidiness only: a worker that takes it anyway is refused by the record.
        with suppress(StoreUnavailable):
            context.queue.remove(record)
    return record


def delete(context: Context, tenant: str, job_id: str) -> None:
    record = find(context, job_id, tenant)
    if record.status not in TERMINAL:
        raise NotEnded(f"This panorama is {record.status}. Cancel it first.")
    # Its objects first: what fails half-way is found again by its record.
    context.objects.delete_prefix(f"{record.tenant}/{record.id}/")
    with suppress(NotFound):  # Redis may have forgotten it, or another DELETE been here
        context.store.delete(job_id)
