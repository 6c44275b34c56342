"""The families of checkpoints: how each is recognised, and what a request can ask of it.

The one table of it, for the API and the worker. Torch-free. How a family's networks are loaded and
called stands in `core/diffusion/families`, one file a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.presets import SchedulerName


@dataclass(frozen=True, eq=False)
class Family:
    name: str  # as in `CheckpointTraits.family`
    title: str  # as its makers write it
    denoiser: Literal["unet", "transformer"]  # the part that denoises
    networks: Mapping[str, Mapping[str, str]]  # by part: the legal classes, and their libraries
    tokenizers: Mapping[str, Mapping[str, str]]
    schedulers: tuple[SchedulerName, ...]  # the first is the default, unless the checkpoint says
    pipeline_classes: tuple[str, ...] = ()  # that `model_index.json` names; (): any will do
    optional: tuple[str, ...] = ()  # parts that a checkpoint may lack
    reads_negative_prompt: bool = True  # unless the checkpoint's own traits say no
    takes_controlnet: bool = False
    takes_perturbed_attention: bool = False
    # The network was trained at many sizes and names none: `panoweave.json` may say `window_px`.
    takes_any_window: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that are loaded."""
        return (*self.networks, *self.tokenizers, "scheduler")


_CLIP: Final = {"CLIPTextModel": "transformers"}
_CLIP_PROJECTION: Final = {"CLIPTextModelWithProjection": "transformers"}
_CLIP_TOKENIZER: Final = {"CLIPTokenizer": "transformers", "CLIPTokenizerFast": "transformers"}
_T5: Final = {"T5EncoderModel": "transformers"}
_T5_TOKENIZER: Final = {"T5TokenizerFast": "transformers", "T5Tokenizer": "transformers"}
_KL: Final = {"AutoencoderKL": "diffusers"}

STABLE_DIFFUSION: Final = Family(
    "stable-diffusion",
    "Stable Diffusion 1 and 2",
    denoiser="unet",
    networks={
        "unet": {"UNet2DConditionModel": "diffusers"},
        "vae": {**_KL, "AutoencoderTiny": "diffusers", "PatchAutoencoder": "panoweave"},
        "text_encoder": _CLIP,
    },
    tokenizers={"tokenizer": _CLIP_TOKENIZER},
    schedulers=("ddim", "euler", "dpm++", "lcm"),
    takes_controlnet=True,
    takes_perturbed_attention=True,
)
STABLE_DIFFUSION_XL: Final = replace(
    STABLE_DIFFUSION,
    name="stable-diffusion-xl",
    title="Stable Diffusion XL",
    networks={**STABLE_DIFFUSION.networks, "text_encoder_2": _CLIP_PROJECTION},
    tokenizers={**STABLE_DIFFUSION.tokenizers, "tokenizer_2": _CLIP_TOKENIZER},
)
STABLE_DIFFUSION_3: Final = Family(
    "stable-diffusion-3",
    "Stable Diffusion 3",
    denoiser="transformer",
    pipeline_classes=("StableDiffusion3Pipeline",),
    networks={
        "transformer": {"SD3Transformer2DModel": "diffusers"},
        "vae": _KL,
        "text_encoder": _CLIP_PROJECTION,
        "text_encoder_2": _CLIP_PROJECTION,
        "text_encoder_3": _T5,
    },
    tokenizers={
        "tokenizer": _CLIP_TOKENIZER,
        "tokenizer_2": _CLIP_TOKENIZER,
        "tokenizer_3": _T5_TOKENIZER,
    },
    optional=("text_encoder_3", "tokenizer_3"),
    schedulers=("euler",),
)
FLUX: Final = Family(
    "flux",
    "FLUX.1",
    denoiser="transformer",
    pipeline_classes=("FluxPipeline",),
    networks={
        "transformer": {"FluxTransformer2DModel": "diffusers"},
        "vae": _KL,
        "text_encoder": _CLIP,
        "text_encoder_2": _T5,
    },
    tokenizers={"tokenizer": _CLIP_TOKENIZER, "tokenizer_2": _T5_TOKENIZER},
    schedulers=("euler",),
    reads_negative_prompt=False,
    takes_any_window=True,
)
Z_IMAGE: Final = Family(
    "z-image",
    "Z-Image",
    denoiser="transformer",
    pipeline_classes=("ZImagePipeline",),
    networks={
        "transformer": {"ZImageTransformer2DModel": "diffusers"},
        "vae": _KL,
        "text_encoder": {"Qwen3Model": "transformers"},
    },
    tokenizers={
        "tokenizer": {"Qwen2Tokenizer": "transformers", "Qwen2TokenizerFast": "transformers"}
    },
    schedulers=("euler",),
    takes_any_window=True,
)

FAMILIES: Final = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL, STABLE_DIFFUSION_3, FLUX, Z_IMAGE)


def family_named(name: str) -> Family:
    """By the name in a checkpoint's traits; those of older workers have none."""
    return next((family for family in FAMILIES if family.name == name), STABLE_DIFFUSION)


def reads_negative_prompt(traits: CheckpointTraits) -> bool:
    """Whether guidance takes a second prediction. Traits of older workers say nothing of it."""
    return traits.negative_prompt and family_named(traits.family).reads_negative_prompt


def can_perturb_attention(traits: CheckpointTraits) -> bool:
    """Whether there is a prediction without the prompt, and a UNet that makes it."""
    return family_named(traits.family).takes_perturbed_attention and reads_negative_prompt(traits)


def family_in(index: Mapping[str, Any]) -> Family | None:
    """The family of a checkpoint's `model_index.json`; None: one that is not supported.

    By the pipeline that it names. Many pipelines run Stable Diffusion's UNet: its checkpoints are
    recognised by their parts. So is what panoweave's own pipeline saved.
    """
    for family in FAMILIES:
        if index.get("_class_name") in family.pipeline_classes:
            return family
    if index.get("_class_name") == "SyncDiffusionPipeline" and names_part(index, "transformer"):
        named = index["transformer"][-1]
        return next((each for each in FAMILIES if named in each.networks[each.denoiser]), None)
    if "unet" in index:
        two_texts = names_part(index, "text_encoder_2")
        return STABLE_DIFFUSION_XL if two_texts else STABLE_DIFFUSION
    return None


def names_part(index: Mapping[str, Any], name: str) -> bool:
    """Whether a `model_index.json` names a part; those that a checkpoint lacks are [null, null]."""
    value = index.get(name)
    return isinstance(value, list) and any(value)
