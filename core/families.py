"""The families of checkpoints: how each is recognised, and what a request can ask of it.

The one table of it, for the API and the worker. Torch-free. How a family's networks are loaded and
called stands in `core/diffusion/families`, one file a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from panoweave.core.presets import SchedulerName


@dataclass(frozen=True)
class Family:
    name: str  # as in `CheckpointTraits.family`
    title: str  # as its makers write it
    denoiser: Literal["unet", "transformer"]  # the folder of the network that denoises
    denoiser_class: str  # in diffusers
    pipeline_classes: tuple[str, ...]  # what `model_index.json` names; () where any will do
    schedulers: tuple[SchedulerName, ...]  # the first is the default, unless the checkpoint says
    reads_negative_prompt: bool = True
    takes_controlnet: bool = False
    takes_lora: bool = False


STABLE_DIFFUSION: Final = Family(
    "stable-diffusion",
    "Stable Diffusion 1 and 2",
    denoiser="unet",
    denoiser_class="UNet2DConditionModel",
    pipeline_classes=(),
    schedulers=("ddim", "euler", "dpm++", "lcm"),
    takes_controlnet=True,
    takes_lora=True,
)
STABLE_DIFFUSION_XL: Final = Family(
    "stable-diffusion-xl",
    "Stable Diffusion XL",
    denoiser="unet",
    denoiser_class="UNet2DConditionModel",
    pipeline_classes=(),
    schedulers=("ddim", "euler", "dpm++", "lcm"),
    takes_controlnet=True,
    takes_lora=True,
)
STABLE_DIFFUSION_3: Final = Family(
    "stable-diffusion-3",
    "Stable Diffusion 3",
    denoiser="transformer",
    denoiser_class="SD3Transformer2DModel",
    pipeline_classes=("StableDiffusion3Pipeline",),
    schedulers=("euler",),
)

FAMILIES: Final = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL, STABLE_DIFFUSION_3)


def family_named(name: str) -> Family:
    """By the name in a checkpoint's traits; those of older workers have none."""
    return next((family for family in FAMILIES if family.name == name), STABLE_DIFFUSION)


def family_in(index: Mapping[str, Any]) -> Family | None:
    """The family of a checkpoint's `model_index.json`; None: one that is not supported.

    By the pipeline that it names. Many pipelines run Stable Diffusion's UNet: its checkpoints are
    recognised by their parts. So is what panoweave's own pipeline saved.
    """
    for family in FAMILIES:
        if index.get("_class_name") in family.pipeline_classes:
            return family
    if names_part(index, "unet"):
        two_texts = names_part(index, "text_encoder_2")
        return STABLE_DIFFUSION_XL if two_texts else STABLE_DIFFUSION
    if index.get("_class_name") == "SyncDiffusionPipeline":
        named = (index.get("transformer") or [None])[-1]
        return next((family for family in FAMILIES if family.denoiser_class == named), None)
    return None


def names_part(index: Mapping[str, Any], name: str) -> bool:
    """Whether a `model_index.json` names a part; those that a checkpoint lacks are [null, null]."""
    value = index.get(name)
    return isinstance(value, list) and any(value)
