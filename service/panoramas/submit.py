"""POST /panoramas: from a valid request to a job that waits for a worker."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from structlog.contextvars import bind_contextvars

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.jobs import demand, speeds
from panoweave.core.jobs.errors import ModelNotReady, QueueFull
from panoweave.core.jobs.record import JobRecord, Terms, Trace, batch_id_of, job_ids
from panoweave.core.params import MAX_SEED, ResolvedParams
from panoweave.service.dependencies import Context
from panoweave.service.http import idempotency
from panoweave.service.http.auth import Caller
from panoweave.service.http.errors import (
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidRequest,
    JobStoreUnavailable,
    ModelNotLoaded,
    ObjectStoreUnavailable,
    PanoramaNotFound,
    TooManyBytesByTenant,
    TooManyQueued,
    TooManyQueuedByTenant,
)
from panoweave.service.models import choose_model, model_traits
from panoweave.service.panoramas.inputs import ingest_images
from panoweave.service.panoramas.limits import check_limits
from panoweave.service.panoramas.lookup import lookup_job
from panoweave.service.panoramas.views import panorama_views
from panoweave.service.panoramas.workers import check_workers, traits_for_defaults
from panoweave.service.schemas import PanoramaBatch, PanoramaRequest, PanoramaView
from panoweave.service.webhooks.targets import validate_webhook

log = logging.getLogger(__name__)


# Never change, and may be long: the answer that is kept for an idempotency key is without them.
_IN_RECORD: Final = {"model", "params", "metadata"}
_KEPT_ELSEWHERE: Final[dict[str, Any]] = {
    **dict.fromkeys(_IN_RECORD, True),
    "items": {"__all__": _IN_RECORD},
}


SUBMIT_REFUSALS: Final = (
    PanoramaNotFound,
    IdempotencyKeyInFlight,
    InvalidRequest,
    IdempotencyKeyReused,
    TooManyQueued,
    TooManyQueuedByTenant,
    TooManyBytesByTenant,
    ModelNotLoaded,
    JobStoreUnavailable,
    ObjectStoreUnavailable,
)
"""For the OpenAPI document: what a client may be answered instead, if it sends no pictures."""


class Accepted(NamedTuple):
    answer: str  # JSON: the panorama, or the batch, as it was when it was accepted
    job_ids: Sequence[str]
    is_replayed: bool

    def headers(self) -> dict[str, str]:
        first = self.job_ids[0]
        is_batch = len(self.job_ids) > 1
        path = f"?batch_id={batch_id_of(first)}" if is_batch else f"/{first}"
        replayed = {"Idempotency-Replayed": "true"} if self.is_replayed else {}
        return {"Location": f"/panoramas{path}", **replayed}


def submit(
    context: Context,
    caller: Caller,
    request: PanoramaRequest,
    trace: Trace,
    idempotency_key: str | None,
) -> Accepted:
    """Accept a panorama or several, once for each idempotency key.

    Raises what `idempotency.begin` raises, InvalidParams, ModelNotReady, QueueFull,
    StoreUnavailable and ObjectStoreError.
    """
    owner = tenant = caller.tenant
    if caller.key_id is not None and idempotency_key is not None:
        owner = context.idempotency.owner(tenant, caller.key_id, idempotency_key)
    with idempotency.begin(context.idempotency, owner, idempotency_key, request) as begun:
        if begun.answer is not None:
            return _replay(context, tenant, begun.answer)

        model = choose_model(context.settings, request.model)
        traits = _traits(context, model)
        check_workers(context, model, request.params)
        traits = traits_for_defaults(context, model, request.params, traits)
        each_params = _each_params(request, traits)
        params = each_params[0]  # the others cost the same
        measured = speeds.read(context.redis, model)
        estimate_s = check_limits(context.settings, request.params, params, traits, measured)
        webhook = validate_webhook(context, tenant, request)
        terms = Terms(
            priority=request.priority or None,
            start_within_s=request.start_within_s,
            expires_in=request.expires_in,
        )
        ids = job_ids(begun.job_id, request.n)
        jobs: Sequence[JobRecord] = [
            JobRecord.new(
                params,
                model,
                tenant,
                request.metadata,
                job_id=job_id,
                webhook=webhook,
                trace=trace,
                estimate_s=estimate_s,
                batch_id=batch_id_of(ids[0]) if len(ids) > 1 else None,
                terms=terms,
            )
            for job_id, params in zip(ids, each_params, strict=True)
        ]
        jobs = ingest_images(context, jobs, traits)
        jobs = _create(context, jobs)
        _enqueue(context, jobs)

        accepted = as_answer(panorama_views(context, jobs))
        begun.finish(accepted.model_dump_json(exclude=_KEPT_ELSEWHERE))
    return Accepted(accepted.model_dump_json(), [job.id for job in jobs], is_replayed=False)


def _each_params(request: PanoramaRequest, traits: CheckpointTraits) -> list[ResolvedParams]:
    """With seeds that count up from the request's, or with a random one each."""
    seed, most = request.params.seed, MAX_SEED - (request.n - 1)
    if seed is not None and seed > most:
        problem = f"the seeds of {request.n} panoramas would count up beyond {MAX_SEED}"
        raise InvalidParams("seed", problem, f"a whole number from 0 to {most}")
    seeds = [None if seed is None else seed + number for number in range(request.n)]
    asked = [request.params.model_copy(update={"seed": each}) for each in seeds]
    return [each.resolve(traits) for each in asked]


def as_answer(views: Sequence[PanoramaView]) -> PanoramaView | PanoramaBatch:
    batch_id = views[0].batch_id
    return PanoramaBatch(batch_id=batch_id, items=list(views)) if batch_id else views[0]


def _traits(context: Context, model: str) -> CheckpointTraits:
    """Raises ModelNotReady, and then asks for a worker: nothing else shows that there is demand."""
    try:
        return model_traits(context, model)
    except ModelNotReady:
        demand.note_wanted(context.redis, model)
        raise


def _replay(context: Context, tenant: str, answer: str) -> Accepted:
    """The whole answer again. Raises NotFound if its record is gone."""
    fields = json.loads(answer)
    if fields.keys() >= {"params", "metadata"}:  # stored by version 0.1.0
        return Accepted(answer, [fields["id"]], is_replayed=True)
    views = []
    for short in fields.get("items", [fields]):
        job = lookup_job(context, short["id"], tenant)
        whole = short | {name: getattr(job, name) for name in _IN_RECORD}
        views.append(PanoramaView.model_validate(whole))
    ids = [view.id for view in views]
    return Accepted(as_answer(views).model_dump_json(), ids, is_replayed=True)


def _create(context: Context, jobs: Sequence[JobRecord]) -> Sequence[JobRecord]:
    """The records as Redis stored them. If the jobs exist already, their records."""
    try:
        created = context.store.create_all(jobs)
    except QueueFull:
        for job in jobs:
            with suppress(ObjectStoreError):  # the copies of its pictures
                context.objects.delete_prefix(f"{job.tenant}/{job.id}/")
        raise
    bind_contextvars(job_id=created[0].id)
    for job in created:
        log.info("%s: accepted", job.id)
    return created


def _enqueue(context: Context, jobs: Sequence[JobRecord]) -> None:
    try:
        context.queue.top_up()
    except StoreUnavailable:
        # The record is what matters: the panorama is accepted, and the janitor tops the queue up.
        # After a 503 the client would post it again, and both would be made.
        for job in jobs:
            log.warning("%s: recorded, but not enqueued; the janitor will do it", job.id)
