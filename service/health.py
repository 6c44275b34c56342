"""Probes for orchestrators (/livez, /readyz), and /status for operators."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from fastapi import APIRouter

from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs import models
from panoweave.service.dependencies import Context, ContextDep, SubscriptionsDep
from panoweave.service.http.auth import OperatorOnly
from panoweave.service.http.errors import JobStoreUnavailable
from panoweave.service.models import all_model_views
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.status_schemas import Health, StatusView, UnservedView, WorkerView

router = APIRouter(tags=["health"])

_REDIS_TIMEOUT_S: Final = 2.0


@router.get("/livez", responses={200: answer("The process is alive.", shows=("alive",))})
async def get_livez() -> Health:
    """Whether the process answers. Depends on nothing else: a restart would not bring Redis
    back."""
    return Health(status="alive")


@router.get(
    "/readyz",
    responses={
        200: answer("The API can accept panoramas.", shows=("ready",)),
        **refusals(JobStoreUnavailable, needs_key=False),
    },
)
async def get_readyz(subscriptions: SubscriptionsDep) -> Health:
    """Whether Redis answers. Without it no panorama can be accepted."""
    # On the event loop: the threads may all be waiting for S3.
    try:
        with translate_redis_errors():
            async with asyncio.timeout(_REDIS_TIMEOUT_S):
                # Not PING: a Redis with a full disk refuses that, and answers reads.
                await subscriptions.redis.exists(redis_keys.CHECK)
    except TimeoutError as error:
        raise StoreUnavailable("Redis does not answer") from error
    return Health(status="ready")


@router.get(
    "/status",
    responses={
        200: answer("The state of the whole service.", shows=("status",)),
        **refusals(JobStoreUnavailable),
    },
    dependencies=[OperatorOnly],
)
def get_status(context: ContextDep) -> StatusView:
    """Queue lengths, live workers, models, those of them that nobody serves, and whether the
    bucket can be reached. Covers all tenants, and needs a key of scope `admin`."""
    counts = context.store.counts()
    s3, s3_detail = _s3_state(context)
    return StatusView(
        queued=counts.queued,
        running=counts.running,
        workers=[
            WorkerView(name=state.worker, model=state.model, state=state.state, detail=state.detail)
            for state in models.live_workers(context.redis)
        ],
        models=all_model_views(context),
        unserved=[
            UnservedView(model=each.model, queued=each.queued)
            for each in context.queue.waiting()
            if not each.workers
        ],
        s3=s3,
        s3_detail=s3_detail,
    )


def _s3_state(context: Context) -> tuple[Literal["ok", "away"], str]:
    """Whether the bucket can be used, and what would mend it."""
    try:
        context.objects.check()
    except ObjectStoreError as error:
        return "away", error.remedy
    return "ok", ""
