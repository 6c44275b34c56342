"""Workers that would ignore or refuse a part of a request, while a model's are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import WorkersDiffer
from panoweave.core.jobs.models import ModelState
from panoweave.core.params import PanoramaParams
from panoweave.service.dependencies import Context

# Workers of version 0.1.0 do not know these fields, and publish no `loras`.
_SINCE_0_1_0: Final = ("loras", "upscale", "projection", "perturbed_attention")

# What a worker loads beside its checkpoint, by the name among the traits, and what needs it.
_NEEDS: Final[Mapping[str, Callable[[PanoramaParams], bool]]] = MappingProxyType(
    {
        "controlnet": lambda asked: asked.control is not None,
        "tiny_decoder": lambda asked: asked.sync.decoder == "tiny",
    }
)
_TITLES: Final = MappingProxyType({"controlnet": "ControlNet", "tiny_decoder": "tiny decoder"})


def check_workers(context: Context, model: str, asked: PanoramaParams) -> None:
    """Raises WorkersDiffer if a live worker might make the panorama without what is asked for, or
    might not make it.

    What no worker has is refused by `resolve`, with what there is.
    """
    given = asked.model_dump(include=set(_SINCE_0_1_0))  # without those that say nothing
    used = [name for name in _SINCE_0_1_0 if given.get(name)]  # false is what they do
    needs = [name for name, is_needed in _NEEDS.items() if is_needed(asked)]
    if not used and not needs:
        return
    alive = _traits_of(models.live_workers(context.redis), model)
    for name in needs:
        if {getattr(traits, name) for traits in alive} == {True, False}:
            raise WorkersDiffer(model, f"has no {_TITLES[name]}, which other workers have")
    if used and any("loras" not in traits.model_fields_set for traits in alive):
        names = " and ".join(f"`{name}`" for name in used)
        raise WorkersDiffer(model, f"is of version 0.1.0, which does not know {names}")
    held = [{lora.name for lora in traits.loras} for traits in alive]
    named = {lora.name for lora in asked.loras} & set[str]().union(*held)
    if any(named - names for names in held):
        raise WorkersDiffer(model, "does not have the LoRAs that other workers have")


def traits_for_defaults(
    context: Context, model: str, asked: PanoramaParams, traits: CheckpointTraits
) -> CheckpointTraits:
    """`traits`, by which what the request leaves open is filled so that every live worker can make
    it: no `sync.decoder` 'tiny' while some have no tiny decoder."""
    if not traits.tiny_decoder or asked.sync.decoder is not None:
        return traits
    lacking = models.live_without_tiny_decoder(context.redis, model)
    return common_traits(lacking, model, traits)


def common_traits(
    live: Iterable[ModelState], model: str, traits: CheckpointTraits
) -> CheckpointTraits:
    """`traits`, without a tiny decoder if a live worker of the model has none."""
    if all(each.tiny_decoder for each in _traits_of(live, model)):
        return traits
    return traits.model_copy(update={"tiny_decoder": False})


def _traits_of(live: Iterable[ModelState], model: str) -> list[CheckpointTraits]:
    """Of the workers that have the model, or load it."""
    return [
        state.traits
        for state in live
        if state.model == model and state.traits and state.state != "failed"
    ]
