"""The models of a deployment: GET /models, and which one makes a panorama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.service.dependencies import Context, ContextDep
from panoweave.service.http.auth import CallerDep
from panoweave.service.http.errors import JobStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.schemas import ModelList, ModelView

router = APIRouter(tags=["models"])

# The best state first; a newer version's worker may have another one.
_RANKS: Final = {"ready": 0, "loading": 1, "failed": 2}


@router.get(
    "/models",
    responses={
        200: answer("All known models.", shows=("models",)),
        **refusals(JobStoreUnavailable),
    },
)
def list_models(context: ContextDep, _: CallerDep) -> ModelList:
    """Each model with its window, which determines the sizes it can make, and how many workers
    hold it."""
    return ModelList(items=model_views(context))


def choose_model(settings: Settings, asked: str | None) -> str:
    """The model asked for, or the default one. Raises InvalidParams that names the legal ones."""
    if asked is None:
        return settings.model
    if asked not in settings.model_names:
        names = ", ".join(map(repr, settings.model_names))
        raise InvalidParams("model", "this server has no model of this name", names)
    return asked


def model_views(context: Context) -> list[ModelView]:
    live = models.live_workers(context.redis)
    return [_model_view(known, live) for known in models.all(context.redis)]


def _model_view(known: ModelState, live: Sequence[ModelState]) -> ModelView:
    """What was last published of a model; if workers hold it now, the best state among them."""
    holders = [state for state in live if state.model == known.model]
    shown = min(holders, key=lambda state: _RANKS.get(state.state, len(_RANKS)), default=known)
    return ModelView(
        model=known.model,
        state=shown.state if holders else "offline",
        detail=shown.detail,
        traits=known.traits,
        perceptual=shown.perceptual,
        workers=len(holders),
        updated_at=shown.updated_at,
    )
