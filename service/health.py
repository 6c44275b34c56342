"""Whether this process lives, and whether it can take work."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.jobs import models
from panoweave.service.dependencies import InContext
from panoweave.service.http.auth import ForOperators
from panoweave.service.http.errors import RedisAway
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.panoramas.views import model_views
from panoweave.service.schemas import Health, StatusView, WorkerView

router = APIRouter(tags=["health"])


@router.get("/livez", responses={200: answer("It lives.", shows=("alive",))})
async def get_livez() -> Health:
    """Depends on nothing: a restart would not bring Redis back."""
    return Health(status="alive")


@router.get(
    "/status",
    responses={
        200: answer("How things are.", shows=("status",)),
        **refusals(RedisAway),
    },
    dependencies=[ForOperators],
)
def get_status(context: InContext) -> StatusView:
    """What waits, what runs, who works, and whether the bucket can be reached. For operators: of
    all tenants, with a key of scope `admin`."""
    try:
        context.objects.check()
    except ObjectStoreError:
        s3: Literal["ok", "away"] = "away"
    else:
        s3 = "ok"
    counts = context.store.counts()
    return StatusView(
        queued=counts.queued,
        running=counts.running,
        workers=[
            WorkerView(name=state.worker, model=state.model, state=state.state, detail=state.detail)
            for state in models.live_workers(context.redis)
        ],
        models=model_views(context),
        s3=s3,
    )


@router.get(
    "/readyz",
    responses={
        200: answer("It can take work.", shows=("ready",)),
        **refusals(RedisAway, needs_key=False),
    },
)
def get_readyz(context: InContext) -> Health:
    """Whether Redis answers: without it no work is taken."""
    with translate_redis_errors():
        context.redis.ping()
    return Health(status="ready")
