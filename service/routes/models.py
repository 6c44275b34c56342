"""Which models there are, as the workers tell."""

from __future__ import annotations

from fastapi import APIRouter

from service.auth import InCaller
from service.context import InContext
from service.errors import RedisAway
from service.openapi import answer, refusals
from service.schemas import ModelList
from service.views import model_views

router = APIRouter(tags=["models"])


@router.get(
    "/models",
    responses={
        200: answer("All that are known.", shows=("models",)),
        **refusals(RedisAway),
    },
)
def list_models(context: InContext, _: InCaller) -> ModelList:
    """Each model's window, which says what sizes it makes, and how many workers hold it."""
    return ModelList(items=model_views(context))
