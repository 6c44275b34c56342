"""Workers that would ignore or refuse a part of a request, while a model's are replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from panoweave.core.jobs import models
from panoweave.core.jobs.errors import WorkersDiffer
from panoweave.core.params import PanoramaParams
from panoweave.service.dependencies import Context

# Workers of version 0.1.0 do not know these fields, and publish no `loras`.
_SINCE_0_1_0: Final = ("loras", "upscale", "projection")

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
    used = asked.model_dump(include=set(_SINCE_0_1_0))  # without those that say nothing
    needs = [name for name, is_needed in _NEEDS.items() if is_needed(asked)]
    if not used and not needs:
        return
    alive = [
        state.traits
        for state in models.live_workers(context.redis)
        if state.model == model and state.traits and state.state != "failed"
    ]
    for name in needs:
        if {getattr(traits, name) for traits in alive} == {True, False}:
            raise WorkersDiffer(model, f"has no {_TITLES[name]}, which other workers have")
    if used and any("loras" not in traits.model_fields_set for traits in alive):
        names = " and ".join(f"`{name}`" for name in _SINCE_0_1_0 if name in used)
        raise WorkersDiffer(model, f"is of version 0.1.0, which does not know {names}")
    held = [{lora.name for lora in traits.loras} for traits in alive]
    named = {lora.name for lora in asked.loras} & set[str]().union(*held)
    if any(named - names for names in held):
        raise WorkersDiffer(model, "does not have the LoRAs that other workers have")
