"""POST /panoramas: from a valid request to a job that waits for a worker."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Final, NamedTuple

from structlog.contextvars import bind_contextvars

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.jobs import demand, speeds
from panoweave.core.jobs.errors import ModelNotReady, QueueFull
from panoweave.core.jobs.record import JobRecord, Trace
from panoweave.service.dependencies import Context
from panoweave.service.http import idempotency
from panoweave.service.http.auth import Caller
from panoweave.service.models import choose_model, model_traits
from panoweave.service.panoramas.inputs import ingest_images
from panoweave.service.panoramas.limits import check_limits
from panoweave.service.panoramas.lookup import lookup_job
from panoweave.service.panoramas.views import panorama_view
from panoweave.service.schemas import PanoramaRequest, PanoramaView
from panoweave.service.webhooks.targets import validate_webhook

log = logging.getLogger(__name__)


# Never change, and may be long: the answer that is kept for an idempotency key is without them.
_IN_RECORD: Final = {"model", "params", "metadata"}


class Accepted(NamedTuple):
    answer: str  # JSON: the panorama as it was when it was accepted
    is_replayed: bool


def submit(
    context: Context,
    caller: Caller,
    request: PanoramaRequest,
    trace: Trace,
    idempotency_key: str | None,
) -> Accepted:
    """Accept a panorama, once for each idempotency key.

    Raises what `idempotency.begin` raises, InvalidParams, ModelNotReady, QueueFull,
    StoreUnavailable and ObjectStoreError.
    """
    owner = tenant = caller.tenant
    if caller.key_id is not None and idempotency_key is not None:
        owner = context.idempotency.owner(tenant, caller.key_id, idempotency_key)
    with idempotency.begin(context.idempotency, owner, idempotency_key, request) as begun:
        if begun.answer is not None:
            return Accepted(_replay(context, tenant, begun.answer), is_replayed=True)

        model = choose_model(context.settings, request.model)
        traits = _traits(context, model)
        params = request.params.resolve(traits)
        measured = speeds.read(context.redis, model)
        estimate_s = check_limits(context.settings, request.params, params, traits, measured)
        webhook = validate_webhook(context, tenant, request.webhook)
        job_id, metadata = begun.job_id, request.metadata
        job = JobRecord.new(
            params,
            model,
            tenant,
            metadata,
            job_id=job_id,
            webhook=webhook,
            trace=trace,
            estimate_s=estimate_s,
        )
        job = ingest_images(context, job, traits)
        job = _create(context, job)
        _enqueue(context, job)

        view = panorama_view(context, job)
        begun.finish(view.model_dump_json(exclude=_IN_RECORD))
    return Accepted(view.model_dump_json(), is_replayed=False)


def _traits(context: Context, model: str) -> CheckpointTraits:
    """Raises ModelNotReady, and then asks for a worker: nothing else shows that there is demand."""
    try:
        return model_traits(context, model)
    except ModelNotReady:
        demand.note_wanted(context.redis, model)
        raise


def _replay(context: Context, tenant: str, answer: str) -> str:
    """The whole answer again. Raises NotFound if its record is gone."""
    fields = json.loads(answer)
    if fields.keys() >= {"params", "metadata"}:
        return answer  # stored by version 0.1.0
    job = lookup_job(context, fields["id"], tenant)
    fields |= {name: getattr(job, name) for name in _IN_RECORD}
    return PanoramaView.model_validate(fields).model_dump_json()


def _create(context: Context, job: JobRecord) -> JobRecord:
    """The record as Redis stored it. If a job with this id exists already, its record."""
    try:
        created = context.store.create(job)
    except QueueFull:
        with suppress(ObjectStoreError):  # the copies of its pictures
            context.objects.delete_prefix(f"{job.tenant}/{job.id}/")
        raise
    bind_contextvars(job_id=created.id)
    log.info("%s: accepted", created.id)
    return created


def _enqueue(context: Context, job: JobRecord) -> None:
    try:
        context.queue.top_up()
    except StoreUnavailable:
        # The record is what matters: the panorama is accepted, and the janitor tops the queue up.
        # After a 503 the client would post it again, and both would be made.
        log.warning("%s: recorded, but not enqueued; the janitor will do it", job.id)
