"""Which models there are, as the workers tell."""

from __future__ import annotations

from fastapi import APIRouter

from panoweave.service.dependencies import ContextDep
from panoweave.service.http.auth import CallerDep
from panoweave.service.http.errors import JobStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.panoramas.views import model_views
from panoweave.service.schemas import ModelList

router = APIRouter(tags=["models"])


@router.get(
    "/models",
    responses={
        200: answer("All that are known.", shows=("models",)),
        **refusals(JobStoreUnavailable),
    },
)
def list_models(context: ContextDep, _: CallerDep) -> ModelList:
    """Each model's window, which says what sizes it makes, and how many workers hold it."""
    return ModelList(items=model_views(context))
