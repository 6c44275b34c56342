"""Workers that would ignore a part of a request, while the workers of its model are replaced."""

from __future__ import annotations

from typing import Final

from panoweave.core.jobs import models
from panoweave.core.jobs.errors import WorkersDiffer
from panoweave.core.params import PanoramaParams
from panoweave.service.dependencies import Context

# Workers of version 0.1.0 do not know these fields, and publish no `loras`.
_SINCE_0_1_0: Final = ("loras", "upscale", "projection")


def check_workers(context: Context, model: str, asked: PanoramaParams) -> None:
    """Raises WorkersDiffer if a live worker might make the panorama without what is asked for.

    A LoRA that no worker has is refused by `resolve`, with the names that there are.
    """
    used = asked.model_dump(include=set(_SINCE_0_1_0))  # without those that say nothing
    if not used:
        return
    alive = [
        state.traits
        for state in models.live_workers(context.redis)
        if state.model == model and state.traits and state.state != "failed"
    ]
    if any("loras" not in traits.model_fields_set for traits in alive):
        names = " and ".join(f"`{name}`" for name in _SINCE_0_1_0 if name in used)
        raise WorkersDiffer(model, f"is of version 0.1.0, which does not know {names}")
    held = [{lora.name for lora in traits.loras} for traits in alive]
    named = {lora.name for lora in asked.loras} & set[str]().union(*held)
    if any(named - names for names in held):
        raise WorkersDiffer(model, "does not have the LoRAs that other workers have")
