"""GET /scaling/{model}: how many workers a model needs, for KEDA and its like."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from panoweave.core.jobs import models
from panoweave.service.dependencies import Context, ContextDep
from panoweave.service.http.auth import ScalerOnly
from panoweave.service.http.errors import InvalidRequest, JobStoreUnavailable, ModelNotFound
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.status_schemas import ScalingView

router = APIRouter(tags=["health"])

ModelName = Annotated[
    str, Path(description="As the workers' `PANOWEAVE_MODEL`.", examples=["embedded"])
]
SecondsPerWorker = Annotated[
    float,
    Query(
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="A worker for each so many seconds of work. Fewer: shorter waits, more workers "
        "that load the model for little.",
    ),
]


# A hub id has a slash.
@router.get(
    "/scaling/{model:path}",
    responses={
        200: answer("The work that there is for the model.", shows=("scaling",)),
        **refusals(InvalidRequest, ModelNotFound, JobStoreUnavailable),
    },
    dependencies=[ScalerOnly],
)
def get_scaling(
    context: ContextDep, model: ModelName, seconds_per_worker: SecondsPerWorker = 120
) -> ScalingView:
    """How much work there is for a model, and how many workers it needs. Covers all tenants, and
    needs a key of scope `scaling` or `admin`. Answers also for a model that no worker has ever
    loaded."""
    demand = context.queue.demand(model)
    if not (demand.queued or demand.running or _is_known(context, model)):
        names = ", ".join(context.settings.model_names)
        raise ModelNotFound(f"This server has the models {names}.")
    return ScalingView(
        model=model,
        queued=demand.queued,
        running=demand.running,
        gpu_s=round(demand.gpu_s, 3),
        unestimated=demand.unestimated,
        workers=demand.workers,
        workers_wanted=demand.workers_wanted(seconds_per_worker),
    )


def _is_known(context: Context, model: str) -> bool:
    """Whether requests may name it, or a worker has once loaded it."""
    return model in context.settings.model_names or models.get(context.redis, model) is not None
