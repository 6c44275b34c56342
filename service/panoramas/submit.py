"""Taking a panorama in, and calling one off."""

from __future__ import annotations

import logging
from contextlib import suppress

from structlog.contextvars import bind_contextvars

from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import NotFound, QueueFull
from panoweave.core.jobs.record import TERMINAL, JobRecord, Status, Trace
from panoweave.service.dependencies import Context
from panoweave.service.http.errors import NotEnded, NotFailed
from panoweave.service.panoramas.inputs import take_in
from panoweave.service.panoramas.lookup import find
from panoweave.service.schemas import PanoramaRequest
from panoweave.service.webhooks.checks import checked

log = logging.getLogger(__name__)


def submit(
    context: Context, tenant: str, request: PanoramaRequest, job_id: str, trace: Trace
) -> JobRecord:
    """Take a panorama in, once for each `job_id`: a second time finds the first one's record."""
    model = context.settings.model
    traits = models.traits(context.redis, model)
    params = request.params().resolve(traits)
    webhook = checked(context, tenant, request.webhook)
    asked = JobRecord.new(params, model, tenant, request.metadata, job_id, webhook, trace)
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
        context.queue.top_up()
    except StoreUnavailable:
        # Accepted all the same: the record is the truth, and the janitor sees that a turn comes
        # for it. A 503 here would make the client post it twice.
        log.warning("%s was recorded but no turn added: left to the janitor", record.id)
    return record


def cancel(context: Context, tenant: str, job_id: str) -> JobRecord:
    record = find(context, job_id, tenant)
    if record.status in TERMINAL:
        return record
    return context.store.request_cancel(job_id)


def retry(context: Context, tenant: str, job_id: str) -> JobRecord:
    record = find(context, job_id, tenant)
    if record.status in (Status.SUCCEEDED, Status.CANCELLED):
        raise NotFailed(f"This panorama is {record.status}.")
    record = context.store.retry(record)
    with suppress(StoreUnavailable):  # the janitor sees that a turn comes for it
        context.queue.top_up()
    return record


def delete(context: Context, tenant: str, job_id: str) -> None:
    record = find(context, job_id, tenant)
    if record.status not in TERMINAL:
        raise NotEnded(f"This panorama is {record.status}. Cancel it first.")
    # Its objects first: what fails half-way is found again by its record.
    context.objects.delete_prefix(f"{record.tenant}/{record.id}/")
    with suppress(NotFound):  # Redis may have forgotten it, or another DELETE been here
        context.store.delete(job_id)
