"""The models of a deployment: GET /models, and which one makes a panorama."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, get_args

from fastapi import APIRouter

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.estimate import Speeds
from panoweave.core.families import (
    can_perturb_attention,
    family_named,
    reads_negative_prompt,
)
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.jobs.models import ModelState
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.core.presets import DEFAULT_PRESET, MAX_LCM_STEPS, PresetName
from panoweave.service.dependencies import Context, ContextDep
from panoweave.service.http.auth import CallerDep
from panoweave.service.http.errors import JobStoreUnavailable
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.panoramas.limits import check_limits
from panoweave.service.panoramas.workers import common_traits
from panoweave.service.status_schemas import (
    ModelFeature,
    ModelList,
    ModelPreset,
    ModelSizes,
    ModelSteps,
    ModelView,
)

router = APIRouter(tags=["models"])

# The best state first; a newer version's worker may have another one.
_RANKS: Final = {"ready": 0, "loading": 1, "failed": 2}


@router.get(
    "/models",
    responses={
        200: answer("The models that requests may name.", shows=("models",)),
        **refusals(JobStoreUnavailable),
    },
)
def list_models(context: ContextDep, _: CallerDep) -> ModelList:
    """Each model that requests may name, the default one first: the sizes, steps, presets and
    features that it has, and how many workers hold it. Known also before any worker has loaded
    it."""
    published = _published(context)
    return ModelList(items=_model_views(context, context.settings.model_names, published))


def choose_model(settings: Settings, asked: str | None) -> str:
    """The model asked for, or the default one. Raises InvalidParams that names the legal ones."""
    if asked is None:
        return settings.model
    if asked not in settings.model_names:
        names = ", ".join(map(repr, settings.model_names))
        raise InvalidParams("model", "this server has no model of this name", names)
    return asked


def model_traits(context: Context, model: str) -> CheckpointTraits:
    """What a worker has published, else what the model's files say. Raises ModelNotReady.

    A worker's answer comes first: it has loaded the weights, and what its own settings add.
    """
    try:
        return models.traits(context.redis, model)
    except ModelNotReady:
        return context.model_files.traits(model)


def all_model_views(context: Context) -> list[ModelView]:
    """The models that requests may name, and those that workers have ever loaded."""
    published = _published(context)
    return _model_views(context, (*context.settings.model_names, *published), published)


def _published(context: Context) -> dict[str, ModelState]:
    return {state.model: state for state in models.all(context.redis)}


def _model_views(
    context: Context, names: Iterable[str], published: Mapping[str, ModelState]
) -> list[ModelView]:
    live = models.live_workers(context.redis)
    unread = [
        name
        for name in context.settings.model_names
        if name not in published or published[name].traits is None
    ]
    for name in unread:  # all at once: each may take long
        context.model_files.begin(name)
    return [_model_view(context, name, published, live) for name in dict.fromkeys(names)]


def _model_view(
    context: Context, model: str, published: Mapping[str, ModelState], live: Sequence[ModelState]
) -> ModelView:
    """What was last published of a model; if workers hold it now, the best state among them."""
    known = published.get(model)
    holders = [state for state in live if state.model == model]
    shown = min(holders, key=lambda state: _RANKS.get(state.state, len(_RANKS)), default=known)
    traits, detail = known.traits if known else None, shown.detail if shown else ""
    if traits is None and model in context.settings.model_names:
        try:
            traits = context.model_files.traits(model)
        except ModelNotReady as error:
            detail = detail or f"this server {error.problem}"
    by_preset: dict[PresetName, ResolvedParams] = {}
    if traits:
        by_preset = _default_panoramas(context.settings, common_traits(live, model, traits))
    usual = by_preset.get(DEFAULT_PRESET)
    return ModelView(
        model=model,
        default=model == context.settings.model,
        state=shown.state if shown and holders else "offline",
        detail=detail,
        traits=traits,
        sizes=_sizes(context.settings, traits, usual) if traits else None,
        steps=_steps(context.settings, traits, usual) if traits else None,
        presets=[_preset(name, params) for name, params in by_preset.items()],
        schedulers=list(family_named(traits.family).schedulers) if traits else [],
        features=_features(traits) if traits else [],
        perceptual=known.perceptual if known else None,
        workers=len(holders),
        updated_at=shown.updated_at if shown else None,
    )


def _default_panoramas(
    settings: Settings, traits: CheckpointTraits
) -> dict[PresetName, ResolvedParams]:
    """What a request that only names a preset asks for, where the server makes that."""
    found: dict[PresetName, ResolvedParams] = {}
    for name in get_args(PresetName):
        asked = PanoramaParams(prompt="any", preset=name)
        with suppress(InvalidParams):
            params = asked.resolve(traits)
            check_limits(settings, asked, params, traits, Speeds())
            found[name] = params
    return found


def _sizes(
    settings: Settings, traits: CheckpointTraits, usual: ResolvedParams | None
) -> ModelSizes:
    return ModelSizes(
        window_px=traits.window_px,
        stride_multiple_px=traits.px_per_latent,
        default_width=usual.width if usual else None,
        default_height=usual.height if usual else None,
        default_stride=usual.stride if usual else None,
        max_pixels=settings.max_pixels,
    )


def _steps(
    settings: Settings, traits: CheckpointTraits, usual: ResolvedParams | None
) -> ModelSteps:
    is_lcm = traits.defaults.scheduler == "lcm"
    return ModelSteps(
        default=usual.steps if usual else None,
        max=min(settings.max_steps, MAX_LCM_STEPS) if is_lcm else settings.max_steps,
    )


def _preset(name: PresetName, params: ResolvedParams) -> ModelPreset:
    return ModelPreset(
        name=name,
        default=name == DEFAULT_PRESET,
        steps=params.steps,
        scheduler=params.scheduler,
        guidance_scale=params.guidance_scale,
        decoder=params.sync.decoder,
    )


def _features(traits: CheckpointTraits) -> list[ModelFeature]:
    has: dict[ModelFeature, bool] = {
        "control": traits.controlnet,
        "tiny_decoder": traits.tiny_decoder,
        "negative_prompt": reads_negative_prompt(traits),
        "guidance_scale": traits.guidance,
        "perturbed_attention": can_perturb_attention(traits),
    }
    return [name for name, is_there in has.items() if is_there]
