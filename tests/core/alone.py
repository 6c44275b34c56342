"""One window of a panorama pipeline, to be compared with diffusers' own pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny

SEED = 5
STEPS = 4
GUIDANCE_SCALE = 3.0


def noise(pipeline: SyncDiffusionPipeline, width: int = 64) -> Tensor:
    params = PanoramaParams(prompt="a lake", width=width, seed=SEED)
    return tiny.draw_noise(pipeline, params)


def diffusers_own(theirs: Any, start: Tensor, **asked: Any) -> Tensor:
    """What a pipeline of diffusers makes of the same noise: clean latents (1, C, h, w)."""
    theirs.set_progress_bar_config(disable=True)
    base = {"width": 64, "height": 64, "guidance_scale": GUIDANCE_SCALE, "output_type": "latent"}
    made: Tensor = theirs(
        prompt="a lake", num_inference_steps=STEPS, latents=start, **{**base, **asked}
    ).images
    return made


def latents(
    pipeline: SyncDiffusionPipeline,
    pictures: Mapping[str, Tensor] = MappingProxyType({}),
    **asked: Any,
) -> Tensor:
    """Clean latents (1, C, h, w), unsynchronised; of one window, unless asked otherwise."""
    base: dict[str, Any] = {"width": 64, "steps": STEPS, "guidance_scale": GUIDANCE_SCALE}
    params = PanoramaParams(
        prompt="a lake", preset="paper", seed=SEED, sync=SyncParams(weight=0), **{**base, **asked}
    )
    return tiny.sample(pipeline, params, pictures)
